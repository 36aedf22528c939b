"""A tree as one SQL condition: MongoDB's walk along paths and through arrays, over either database's JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, assert_never

from sqlalchemy import Boolean, ColumnElement, FromClause, and_, case, false, literal, or_, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from typing_extensions import override

from mailer.selector.columns import LISTED, ORDERED, PROMOTED
from mailer.selector.paths import is_index
from mailer.selector.sql.column_conditions import Columns, column_condition
from mailer.selector.sql.matching import admits_array, holds
from mailer.selector.sql.postgresql import PostgreSQLValue
from mailer.selector.sql.sqlite import SQLiteValue
from mailer.selector.sql.values import Condition, Value
from mailer.selector.syntax import parse_selector
from mailer.selector.tree import And, Compare, Comparison, ElemMatch, Exists, Field, Node, Not, Or, Size, Test
from mailer.storage.models import User

_CHEAPEST = {(name,) for name in ORDERED}


def compile_selector(query: Mapping[str, Any], user: type[User] = User) -> ColumnElement[bool]:
    """The condition on `User.document` that holds for exactly the users whom the selector selects.

    `user` may be an alias, for a second look at the table.
    It compiles on SQLite (whose connections need `register`) and on PostgreSQL, is true or not true but may be NULL,
    and holds user input in bind parameters only. Raises InvalidQuery, which names what was refused.
    """
    tree = parse_selector(query)
    return true() if tree == And(()) else Selected(tree, user)


class Selected(FunctionElement[bool]):
    """Whether the document in a column is one that the tree selects."""

    type = Boolean()
    inherit_cache = False  # the tree is part of what the SQL depends on

    def __init__(self, tree: Node, user: Any = User, *, opened: bool = False) -> None:
        """With `opened` the document alone is asked, not the columns that repeat some of its fields."""
        columns = () if opened else (user.id, user.username, user.created_at, user.roles)
        super().__init__(user.document, *columns)
        self.tree = tree

    @override
    def self_group(self, against: OperatorType | None = None) -> Selected:
        """Itself: a "= 1" around the whole would keep SQLite from testing the cheapest part first."""
        return self

    def within(self, root: Callable[[ColumnElement[Any]], Value]) -> Condition:
        """The condition in one database's JSON; `root` makes a value of the document's column."""
        document, *columns = self.clauses
        return condition(self.tree, root(document), dict(zip(PROMOTED, columns, strict=bool(columns))))


@compiles(Selected, "sqlite")
def _on_sqlite(element: Selected, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.within(SQLiteValue.document), **options)})"


@compiles(Selected, "postgresql")
def _on_postgresql(element: Selected, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.within(PostgreSQLValue), **options)})"


def condition(node: Node, root: Value, columns: Columns) -> Condition:
    """What the tree says about a value: the user document, or an element under $elemMatch. NULL means no."""
    match node:
        case And(parts):
            return and_(true(), *(condition(part, root, columns) for part in sorted(parts, key=_cost)))
        case Or(parts):
            return or_(false(), *(condition(part, root, columns) for part in parts))
        case Not(part):
            return condition(part, root, columns).is_not(true())
        case Field((), test):
            return _holds(root, test)
        case Field(path, test):
            in_column = column_condition(columns, path, test)
            if in_column is None:
                return _field(root, path, test)
            return _or_unlisted(in_column, columns, node) if path == (LISTED,) else in_column
        case _:
            assert_never(node)


def _cost(node: Node) -> int:
    """In which order conditions that must all hold are best tested, where the database has no opinion."""
    return 0 if isinstance(node, Field) and node.path in _CHEAPEST else 1


def _or_unlisted(listed: Condition, columns: Columns, field: Field) -> Condition:
    """For the few users whom the column says nothing of, in a query apart: so the others' documents stay closed."""
    user = aliased(User)
    unlisted = select(user.id).where(user.roles.is_(None), Selected(field, user, opened=True))
    return or_(listed, and_(columns[LISTED].is_(None), columns["_id"].in_(unlisted)))


def _field(root: Value, path: tuple[str, ...], test: Test) -> Condition:
    """Straight down where no array is on the way, which is nearly always; else through the arrays."""
    first, *rest = path
    values = [root.entry(first) if is_index(first) else root.member(first)]
    for key in rest:
        values.append(values[-1].member(key))
    straight = _leaf(values[-1], test)
    if not rest:
        return straight
    on_the_way = or_(*(value.is_array() for value in values[:-1]))
    around = or_(*(_through_arrays(values[0], steps, test) for steps in _ways(rest)))
    return case((on_the_way, around), else_=straight)


def _ways(keys: list[str]) -> Iterator[tuple[tuple[str, bool], ...]]:
    """Every reading of the keys as names of members or, where they can be, as positions in an array (True)."""
    return product(*([(key, False), (key, True)] if is_index(key) else [(key, False)] for key in keys))


def _through_arrays(value: Value, steps: tuple[tuple[str, bool], ...], test: Test) -> Condition:
    """One way to walk the path: at each array, all its documents or the element at a position.

    A scalar where a document is wanted leads to a missing value, unless it stands in an array: there it leads nowhere.
    """
    sources: list[FromClause] = []
    conditions: list[Condition] = []
    in_array = False
    for key, by_position in steps:
        items = value.items() if by_position else value.items_or_itself()
        sources.append(items.source)
        if by_position:
            conditions.append(items.position == int(key))
            value = items.value
        else:
            lone = false() if in_array else value.is_array().is_not(true())
            conditions.append(or_(items.value.is_document(), lone))
            value = items.value.member(key)
        in_array = by_position
    reached = _holds(value, test) if in_array else _leaf(value, test)
    return _exists(sources, and_(*conditions, reached))


def _leaf(value: Value, test: Test) -> Condition:
    """At the end of the path an array stands for its elements and for itself, except to those that ask for arrays."""
    if isinstance(test, Size | ElemMatch | Exists):
        return _holds(value, test)
    if isinstance(test, Compare) and test.comparison is Comparison.EQ:
        shortcut = value.contains(test.literal.kind, test.literal.value)
        if shortcut is not None:
            return shortcut
    items = value.items()
    any_element = _exists([items.source], _holds(items.value, test))
    within = or_(any_element, _holds(value, test)) if admits_array(test) else any_element
    return case((value.is_array(), within), else_=_holds(value, test))


def _holds(value: Value, test: Test) -> Condition:
    if not isinstance(test, ElemMatch):
        return holds(value, test)
    items = value.items()
    element = condition(test.condition, items.value, {})
    if test.embedded:
        element = and_(or_(items.value.is_document(), items.value.is_array()), element)
    return and_(value.is_array(), _exists([items.source], element))


def _exists(sources: list[FromClause], where: Condition) -> Condition:
    return select(literal(1)).select_from(*sources).where(where).correlate_except(*sources).exists()
