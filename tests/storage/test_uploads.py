"""New objects of Google's and Azure's stores, sent by one process and made visible by another, or by the same one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pipeline import pickling_engine
from pipeline.pickling_engine import PicklingEngine, pickling
from storage.stand_ins import PIECE, GoogleStandIn, StandIn, stand_in
from storage.store_runs import rollout

import gaecli
from gaecli.commands.status import status
from gaecli.settings import RunOptions
from gaecli.storage import azure_blocks, google_sessions
from gaecli.storage.objects import ObjectStore

__all__ = ["pickling"]
SCHEMES = ["gs", "abfs"]
SETTINGS = {
    "in place": {"normalize": "all"},
    "elsewhere": {"output": "", "normalize": "file"},
    "sidecar": {"sidecar": True},
}


@pytest.fixture(params=SCHEMES)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    for module in (google_sessions, azure_blocks):
        monkeypatch.setattr(module, "part_bytes", lambda size: 2 * PIECE)
    return stand_in(request.param, monkeypatch)


def root(store: StandIn) -> str:
    return f"{store.scheme}://bucket"


def put_files(store: StandIn, count: int = 3, num_rows: int = 400) -> None:
    for number in range(count):
        store.put_object("bucket", f"runs/{number}.parquet", rollout(num_rows, number))


def sent_of(store: StandIn, uri: str, body: bytes, folder: Path, replaces: str | None = None):
    (folder / "new").write_bytes(body)
    return ObjectStore(uri).upload(uri, folder / "new", replaces)


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("case", "engine"), [("in place", "local"), *((case, "pickling") for case in SETTINGS)]
)
def test_objects_become_what_local_files_become(
    case: str,
    engine: str,
    store: StandIn,
    tmp_path: Path,
    pickling: list[PicklingEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Google's sessions are each of one process: one that is lost after it has sent everything ends after a week.
    monkeypatch.setattr(pickling_engine, "LOSES_FINISHED", False)
    put_files(store)
    before = store.objects()
    for path, body in before.items():
        place = tmp_path / path.removeprefix("/bucket/")
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(body)
    local, remote = dict(SETTINGS[case]), dict(SETTINGS[case])
    if "output" in local:
        local["output"], remote["output"] = f"{tmp_path}/out/", f"{root(store)}/out/"
    gaecli.compute(tmp_path / "runs", **local)
    gaecli.compute(f"{root(store)}/runs/", engine=engine, **remote)
    after = store.objects()
    made = {f"/bucket/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*.parquet")}
    assert set(after) == made
    assert set(after) != set(before) or after != before
    if case == "in place":  # a result elsewhere tells of the time of its source
        assert after == {path: (tmp_path / path.removeprefix("/bucket/")).read_bytes() for path in after}
    if (
        engine == "pickling"
    ):  # a worker that is lost when it has sent all leaves a session, which ends by itself
        assert pickling[0].num_lost > 0
    else:
        assert store.pending() == []


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 7])
def test_every_size_arrives_whole(
    size: int, store: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GoogleStandIn, "most_taken", PIECE)  # half of each piece
    body = random.Random(size).randbytes(size)
    upload = sent_of(store, f"{root(store)}/a", body, tmp_path)
    upload.send()
    assert store.objects() == {}
    sent = upload.hand_over()
    assert len(sent.tail) < PIECE
    other = sent_of(store, f"{root(store)}/a", b"", tmp_path)
    other.take_over(sent)
    other.commit()
    assert store.objects() == {"/bucket/a": body}
    assert store.pending() == []


def test_a_store_that_takes_nothing_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stand_in("gs", monkeypatch)
    monkeypatch.setattr(GoogleStandIn, "most_taken", 0)
    upload = sent_of(store, "gs://bucket/a", bytes(2 * PIECE), tmp_path)
    with pytest.raises(gaecli.FileError, match="cannot write `gs://bucket/a`: the store took nothing"):
        upload.send()
    upload.discard()
    assert store.pending() == []


@pytest.mark.few(4)
@pytest.mark.parametrize("engine", ["local", "pickling"])
@pytest.mark.parametrize("kind", ["part", "completion"])
def test_a_store_that_fails_leaves_the_old_object_and_tells_no_secret(
    kind: str, engine: str, store: StandIn, pickling: list[PicklingEngine]
) -> None:
    put_files(store, 1, num_rows=20_000)
    before = store.objects()

    def fault(request: str) -> None:
        if request == kind:
            raise ConnectionError("upload_id=secret was cut off")

    store.fault = fault
    with pytest.raises(gaecli.FileError, match=f"cannot write `{root(store)}/runs/0.parquet`") as caught:
        gaecli.compute(f"{root(store)}/runs/0.parquet", engine=engine)
    if store.scheme == "gs":  # whose addresses of uploads are keys
        assert "secret" not in f"{caught.value}{caught.value.__cause__}"
    assert store.objects() == before
    assert store.pending() == []


@pytest.mark.few(4)
@pytest.mark.parametrize("engine", ["local", "pickling"])
@pytest.mark.parametrize("target", ["in place", "new"])
def test_what_somebody_else_wrote_in_the_last_instant_stays(
    target: str, engine: str, store: StandIn, pickling: list[PicklingEngine]
) -> None:
    """After the last look, with which all is well, and before the request that completes the upload."""
    put_files(store, 1)
    key = "runs/0.parquet" if target == "in place" else "out.parquet"

    def meddle(request: str) -> None:
        if request == "completion":
            store.put_object("bucket", key, b"theirs")

    store.fault = meddle
    output = None if target == "in place" else f"{root(store)}/{key}"
    with pytest.raises(gaecli.FileError, match=f"`{root(store)}/{key}` was changed by somebody else"):
        gaecli.compute(f"{root(store)}/runs/0.parquet", output=output, engine=engine)
    assert store.objects()[f"/bucket/{key}"] == b"theirs"


def test_a_completion_whose_answer_was_lost_was_our_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client of Azure sends it again, and the object is not any more the one that it was to replace."""
    store = stand_in("abfs", monkeypatch)
    put_files(store, 1)
    before = store.objects()

    def lose(request: str) -> None:
        if request == "completion":
            raise TimeoutError

    store.fault = lose
    summary = gaecli.compute("abfs://bucket/runs/0.parquet")
    assert [file.status for file in summary.files] == ["written"]
    assert store.objects() != before


def test_what_an_object_says_of_itself_stays(store: StandIn) -> None:
    put_files(store, 1)
    path = "/bucket/runs/0.parquet"
    about = {"metadata": {"run": "7"}}
    if store.scheme == "gs":
        about |= {"contentType": "application/x-rollouts", "cacheControl": "no-store"}
    else:
        about |= {"content_settings": {"content_type": "application/x-rollouts"}}
    store.about[path] = about
    gaecli.compute(f"{root(store)}/runs/0.parquet")
    assert store.versions[path] != "1"
    assert about.items() <= store.about[path].items()


@pytest.mark.few(1)
def test_results_that_are_there_are_found_by_one_listing(store: StandIn) -> None:
    put_files(store, 6, num_rows=50)
    run = {"output": f"{root(store)}/out/"}
    gaecli.compute(f"{root(store)}/runs/", **run)
    store.asked.clear()
    summary = gaecli.compute(f"{root(store)}/runs/", **run)
    assert {file.status for file in summary.files} == {"up to date"}
    assert [path for kind, path in store.asked if kind == "list" and path.endswith("/out")] == ["/bucket/out"]
    looked_at = [path for kind, path in store.asked if kind == "info" and path.endswith(".parquet")]
    assert not [path for path in looked_at if "/out/" in path]
    del store.store["/bucket/out/3.parquet"]
    states = status([f"{root(store)}/runs/"], RunOptions(**run)).results
    assert [state.state for state in states].count("done") == 5
