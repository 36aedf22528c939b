"""JSON Merge Patch (RFC 7396): changes merged into a document, and the changes between two documents. Pure.

A date or number of Extended JSON, such as `{"$date": ...}`, is a value here and not an object with fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypeIs


def merged(target: object, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `target` with `changes` merged in: null removes a field, objects are merged, all else replaces."""
    if not target or not _is_object(target):
        return _without_nulls(changes)
    result = dict(target)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif value.__class__ is dict and _is_object(value):
            result[key] = merged(result.get(key), value)
        else:
            result[key] = value
    return result


def _without_nulls(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What an empty document becomes when `changes` are merged in."""
    result = {}
    for key, value in changes.items():
        if value.__class__ is dict and _is_object(value):
            result[key] = _without_nulls(value)
        elif value is not None:
            result[key] = value
    return result


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that turn `before` into `after` when they are merged in."""
    changes: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if _is_object(old) and _is_object(value):
            nested = difference(old, value)
            changes |= {key: nested} if nested else {}
        elif key not in before or old != value:
            changes[key] = value
    return changes


def _is_object(value: object) -> TypeIs[dict[str, Any]]:
    """Whether `value` is an object with fields, and no date or number of Extended JSON."""
    return isinstance(value, dict) and not next(iter(value), "").startswith("$")
