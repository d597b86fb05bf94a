"""`gaecli.records.dataclass` does what the standard decorator does: every test runs both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import threading
from dataclasses import FrozenInstanceError, field
from functools import cached_property

import pytest

import gaecli.records


def classes(dataclass):
    """The kinds of classes that there are in the package, by one decorator."""

    @dataclass(frozen=True)
    class Point:
        """With a docstring."""

        x: float
        y: float = 0.0
        names: list[str] = field(default_factory=list)
        note: str = field(default="", compare=False, repr=False)

        @cached_property
        def norm(self) -> float:
            return (self.x**2 + self.y**2) ** 0.5

    @dataclass(frozen=True)
    class Named(Point):
        title: str = "none"

        def __post_init__(self) -> None:
            if not self.title:
                raise ValueError("no title")

    @dataclass(frozen=True)
    class Same(Named):
        pass

    @dataclass(eq=False)
    class Box:
        content: object
        count: int = 0

    @dataclass
    class Plain:
        a: int
        b: int = 2

        def __repr__(self) -> str:
            return "mine"

    @dataclass(frozen=True, kw_only=True)
    class Keywords:
        first: int = 1
        second: int

    @dataclass(frozen=True, eq=False)
    class Array:
        cells: list[int]

    @dataclass
    class Names:
        given: int
        values: int
        names: list[str] = field(default_factory=list)
        make_names: int = 0

    return {cls.__name__: cls for cls in (Point, Named, Same, Box, Plain, Keywords, Array, Names)}


@dataclasses.dataclass(frozen=True)
class _Standard:
    a: int
    b: str = "b"


@gaecli.records.dataclass(frozen=True)
class _Ours:
    a: int
    b: str = "b"


@pytest.fixture(params=["standard", "ours"])
def of(request):
    """Name -> class; new ones for each test, so that nothing is made before it."""
    return classes(dataclasses.dataclass if request.param == "standard" else gaecli.records.dataclass)


def test_defaults_and_factories(of):
    first, second = of["Point"](1.0), of["Point"](1.0, y=2.0)
    assert (first.x, first.y, first.names, first.note) == (1.0, 0.0, [], "")
    assert first.names is not second.names
    assert second.norm == 5**0.5


def test_a_field_may_have_any_name(of):
    many = [
        of["Names"](1, 2, make_names=3) for _ in range(gaecli.records._FEW + 2)
    ]  # the last are made by compiled code
    for one in many:
        assert vars(one) == {"given": 1, "values": 2, "names": [], "make_names": 3}


@pytest.mark.parametrize("args", [(), (1.0, 2.0, [], "", "too many")])
def test_wrong_numbers_of_arguments_are_type_errors(of, args):
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        of["Point"](*args)


@pytest.mark.parametrize(
    "given", [{"z": 1}, {"x": 1.0, "z": 1}, {}], ids=["unknown and missing", "unknown", "missing"]
)
def test_wrong_names_are_type_errors(of, given):
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        of["Point"](**given)


def test_a_field_given_twice_is_a_type_error(of):
    with pytest.raises(TypeError, match="multiple values"):
        of["Point"](1.0, x=2.0)


def test_equality_is_of_class_and_fields_that_compare(of):
    point = of["Point"]
    assert point(1.0, note="a") == point(1.0, note="b")
    assert point(1.0) != point(2.0)
    assert point(1.0) != of["Named"](1.0)
    assert point(1.0).__eq__(1.0) is NotImplemented


def test_equal_ones_hash_alike_and_unhashable_classes_stay_so(of):
    keywords = of["Keywords"]
    assert hash(keywords(second=2)) == hash(keywords(second=2))
    assert len({keywords(second=2), keywords(second=2), keywords(second=3)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(of["Plain"](1))
    with pytest.raises(TypeError, match="unhashable"):
        hash(of["Point"](1.0))  # of a list


def test_without_eq_identity_counts(of):
    box = of["Box"](1)
    assert box != of["Box"](1)
    assert len({box, box, of["Box"](1)}) == 2
    assert of["Array"]([1]) != of["Array"]([1])


def test_reprs(of):
    prefix = "classes.<locals>."
    assert repr(of["Point"](1.0)) == f"{prefix}Point(x=1.0, y=0.0, names=[])"
    assert repr(of["Plain"](1)) == "mine"
    box = of["Box"](None)
    box.content = box
    assert repr(box) == f"{prefix}Box(content=..., count=0)"


def test_frozen_ones_refuse_and_others_take_assignments(of):
    point = of["Point"](1.0)
    for change in (
        lambda: setattr(point, "x", 2.0),
        lambda: setattr(point, "z", 2.0),
        lambda: delattr(point, "x"),
    ):
        with pytest.raises(FrozenInstanceError, match=r"cannot (assign to|delete) field"):
            change()
    box = of["Box"](1)
    box.content = 2
    box.more = 3
    assert (box.content, box.more) == (2, 3)


def test_a_class_below_a_frozen_one_may_have_attributes_of_its_own(of):
    class Below(of["Point"]):
        pass

    below = Below(1.0)
    below.z = 3
    assert below.z == 3
    with pytest.raises(FrozenInstanceError):
        below.x = 2.0


def test_fields_come_from_all_classes_in_order(of):
    assert [one.name for one in dataclasses.fields(of["Same"])] == ["x", "y", "names", "note", "title"]
    assert dataclasses.is_dataclass(of["Same"])
    assert of["Same"](1.0, title="t").title == "t"


def test_a_subclass_may_be_made_before_its_base(of):
    named = of["Named"](1.0, title="t")
    assert (named.x, named.title) == (1.0, "t")
    assert of["Point"](2.0).x == 2.0


def test_post_init_runs_where_it_is_inherited_too(of):
    for name in ("Named", "Same"):
        with pytest.raises(ValueError, match="no title"):
            of[name](1.0, title="")


def test_replace_asdict_and_copies(of):
    named = of["Named"](1.0, 2.0, ["a"], title="t")
    assert dataclasses.replace(named, x=3.0).x == 3.0
    assert dataclasses.asdict(named) == {"x": 1.0, "y": 2.0, "names": ["a"], "note": "", "title": "t"}
    assert copy.copy(named) == copy.deepcopy(named) == named


def test_signatures_name_the_parameters(of):
    assert list(inspect.signature(of["Point"]).parameters) == ["x", "y", "names", "note"]
    kinds = {one.kind for one in inspect.signature(of["Keywords"]).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        of["Keywords"](1, 2)


def test_defaults_are_attributes_of_the_class_and_factories_are_not(of):
    of["Point"](1.0)
    assert of["Point"].y == 0.0
    assert not hasattr(of["Point"], "names")


def test_patterns_match_by_position(of):
    match of["Box"](7, 8):
        case object(content=content, count=count):
            assert (content, count) == (7, 8)
    assert of["Point"].__match_args__ == ("x", "y", "names", "note")
    assert of["Keywords"].__match_args__ == ()


@pytest.mark.parametrize("cls", [_Standard, _Ours])
def test_instances_survive_pickling(cls):
    assert pickle.loads(pickle.dumps(cls(1))) == cls(1)


def test_an_unpickled_one_is_compared_though_none_was_made_here(of):
    box = of["Point"].__new__(of["Point"])
    vars(box).update(x=1.0, y=0.0, names=[], note="")
    other = copy.copy(box)
    assert box == other


def test_the_standard_decorator_takes_a_class_below_ours():
    below = dataclasses.dataclass(frozen=True)(
        type("Below", (_Ours,), {"__annotations__": {"c": "int"}, "c": 3})
    )
    assert below(1).c == 3
    with pytest.raises(TypeError, match="non-frozen"):
        dataclasses.dataclass(type("Thawed", (_Ours,), {}))


def made_init(cls):
    return not isinstance(vars(cls)["__init__"], gaecli.records._Init)


def test_what_many_are_made_of_is_compiled_and_stays_what_it_was():
    point = classes(gaecli.records.dataclass)["Point"]
    first = point(1.0, names=["a"])
    assert not made_init(point)
    rest = [point(1.0, names=["a"]) for _ in range(gaecli.records._FEW + 1)]
    assert made_init(point)
    assert all(one == first and vars(one) == vars(first) for one in rest)


def test_threads_that_come_first_together_all_get_what_they_ask_for():
    for _ in range(20):
        cls, start, found = classes(gaecli.records.dataclass)["Same"], threading.Barrier(4), []

        def first(cls=cls, start=start, found=found) -> None:
            start.wait()
            found.append([(one.x, one.names, one.title) for one in (cls(1.0, title="t") for _ in range(60))])

        threads = [threading.Thread(target=first) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [[(1.0, [], "t")] * 60] * 4
