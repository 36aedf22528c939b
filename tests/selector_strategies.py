"""Documents and selectors from a small world, so that they meet: few keys, few values, arrays in arrays."""

from typing import Any

from hypothesis import strategies as st

KEYS = ["a", "b", "0", "1", 'é"\\.'.replace(".", "")]
DATES = [{"$date": 1_000}, {"$date": -5}]
OBJECT_IDS = [{"$oid": "5f" * 12}, {"$oid": "0a" * 12}]
NUMBERS = [0, 1, -7, 5, 1.5, 5.0, -0.5, 1_000, 2**40, 2**62]
TEXTS = ["", "a", "A", "b", "0", "ä", "z\n", "a.b", "\U0001f600", "\ufffd"]
PATTERNS = ["", "^a", "a$", "[^a]", "^.$", r"\d", "a|b", r"^\w*$", "^(?:a|z)$", "Ä"]
TYPES = [
    "string",
    "number",
    "int",
    "long",
    "double",
    "bool",
    "null",
    "array",
    "object",
    "date",
    "objectId",
    "regex",
    2,
    4,
    16,
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(DATES),
    st.sampled_from(OBJECT_IDS),
)
keys = st.sampled_from(KEYS)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3))


values = st.recursive(scalars, _containers, max_leaves=6)
ids = st.one_of(st.sampled_from(["0", "1", "10", "7"]), st.none())
instants = st.one_of(st.sampled_from([*DATES, *NUMBERS]), st.none(), st.sampled_from(TEXTS))
role_names = st.sampled_from([*TEXTS, "a\nb", "a" * 255])  # of the last two the column says nothing
roles = st.lists(role_names, max_size=3)
documents = st.builds(
    lambda fields, name, created, seen, roles: {
        **fields,
        **{"username": name, "createdAt": created, "lastLogin": seen, "roles": roles},
    },
    st.dictionaries(keys, values, max_size=4),
    st.sampled_from(["0", "1", "7", None]),
    st.sampled_from([*DATES, None]),
    instants,
    roles,
)
paths = st.one_of(
    keys, st.lists(keys, min_size=1, max_size=4).filter(lambda p: sum(s in "01" for s in p[1:]) < 3).map(".".join)
)


def _operators(depth: int, scalars: st.SearchStrategy[Any] = scalars) -> st.SearchStrategy[dict[str, Any]]:
    choices = [
        st.fixed_dictionaries({"$eq": values}),
        st.fixed_dictionaries({"$ne": values}),
        *(st.fixed_dictionaries({name: scalars}) for name in ("$gt", "$gte", "$lt", "$lte")),
        st.fixed_dictionaries({"$gt": scalars, "$lte": scalars}),
        *(
            st.fixed_dictionaries({name: st.lists(st.one_of(scalars, values), max_size=4)})
            for name in ("$in", "$nin", "$all")
        ),
        st.fixed_dictionaries({"$exists": st.booleans()}),
        st.fixed_dictionaries({"$type": st.one_of(st.sampled_from(TYPES), st.just(["array", "string"]))}),
        st.fixed_dictionaries({"$size": st.integers(0, 3)}),
        st.fixed_dictionaries({"$mod": st.tuples(st.sampled_from([2, 3, -4]), st.sampled_from([0, 1, -1])).map(list)}),
        st.fixed_dictionaries({"$regex": st.sampled_from(PATTERNS), "$options": st.sampled_from(["", "i", "s"])}),
    ]
    if depth:
        choices += [
            st.fixed_dictionaries({"$not": st.deferred(lambda: _operators(depth - 1))}),
            st.fixed_dictionaries({"$elemMatch": st.deferred(lambda: _operators(depth - 1))}),
            st.fixed_dictionaries({"$elemMatch": st.deferred(lambda: selectors(depth - 1))}),
        ]
    return st.one_of(choices)


def selectors(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Selectors with operators inside each other down to a depth."""
    choices = [
        st.dictionaries(paths, st.one_of(values, _operators(depth)), min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(["createdAt", "lastLogin"]), st.one_of(instants, _operators(0)), min_size=1),
        st.dictionaries(st.sampled_from(["_id", "username"]), st.one_of(ids, _operators(0, ids)), min_size=1),
        st.fixed_dictionaries({"roles": st.one_of(role_names, roles, _operators(0, role_names))}),
        st.fixed_dictionaries({"roles": st.fixed_dictionaries({"$in": roles})}),
    ]
    if depth:
        inner = st.lists(st.deferred(lambda: selectors(depth - 1)), min_size=1, max_size=2)
        choices += [st.fixed_dictionaries({name: inner}) for name in ("$and", "$or", "$nor")]
    return st.one_of(choices)
