"""A tree as one SQL condition: MongoDB's rules for paths and arrays, over the JSON of either database."""

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
    """The condition on `User.document` that is true for exactly the users whom the selector selects.

    For the others it is false or NULL. It compiles for PostgreSQL, and for SQLite, whose connections need
    `add_functions`; user input is in bind parameters only. `user` may be an alias of the table. Raises InvalidQuery,
    which names what was refused.
    """
    tree = parse_selector(query)
    return true() if tree == And(()) else Selected(tree, user)


class Selected(FunctionElement[bool]):
    """The SQL condition that the tree selects a row's document."""

    type = Boolean()
    inherit_cache = False  # the tree is part of what the SQL depends on

    def __init__(self, tree: Node, user: Any = User, *, opened: bool = False) -> None:
        """With `opened` only the document is looked at, not the columns that repeat some of its fields."""
        columns = () if opened else (user.id, user.username, user.created_at, user.roles)
        super().__init__(user.document, *columns)
        self.tree = tree

    @override
    def self_group(self, against: OperatorType | None = None) -> Selected:
        """Itself: SQLAlchemy would put "= 1" around it, which keeps SQLite from testing the cheapest part first."""
        return self

    def within(self, root: Callable[[ColumnElement[Any]], Value]) -> Condition:
        """The condition for one database; `root` makes a `Value` of the column with the document."""
        document, *columns = self.clauses
        return condition(self.tree, root(document), dict(zip(PROMOTED, columns, strict=bool(columns))))


@compiles(Selected, "sqlite")
def _on_sqlite(element: Selected, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.within(SQLiteValue.document), **options)})"


@compiles(Selected, "postgresql")
def _on_postgresql(element: Selected, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.within(PostgreSQLValue), **options)})"


def condition(node: Node, root: Value, columns: Columns) -> Condition:
    """The condition that `node` holds for `root`: the user document, or an array's element under $elemMatch.

    NULL counts as false.
    """
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
    """The rank in which conditions that must all hold are tested, where the database does not reorder them."""
    return 0 if isinstance(node, Field) and node.path in _CHEAPEST else 1


def _or_unlisted(listed: Condition, columns: Columns, field: Field) -> Condition:
    """`listed`, or, for the few users whose column is NULL, the test on the document.

    That is a subquery of its own, so that the documents of the other users need not be opened.
    """
    user = aliased(User)
    unlisted = select(user.id).where(user.roles.is_(None), Selected(field, user, opened=True))
    return or_(listed, and_(columns[LISTED].is_(None), columns["_id"].in_(unlisted)))


def _field(root: Value, path: tuple[str, ...], test: Test) -> Condition:
    """The test at the end of a path: directly where no array is on the way, which is nearly always; else through it."""
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
    """Every way to read the keys: each as a member's name or, where it may be one, as a position in an array (True)."""
    return product(*([(key, False), (key, True)] if is_index(key) else [(key, False)] for key in keys))


def _through_arrays(value: Value, steps: tuple[tuple[str, bool], ...], test: Test) -> Condition:
    """The test along one way through the path: at each array, into all its documents or the element at a position.

    A scalar where a document is needed counts as a missing value, but not inside an array: there it is passed over.
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
    """The test on the value at the end of a path. For an array it is tested on each element and on the array itself.

    $size, $elemMatch and $exists are about the array only.
    """
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
