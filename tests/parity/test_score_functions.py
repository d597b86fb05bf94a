"""Rules for scores of responses against the libraries' own functions, cut out of the files that they published.

Deselected by default: `pytest -m parity_heavy`; skipped without a network.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.published import NEMO, NEMO_UTILS, SKYRL
from parity.sources import Source, cut
from pipeline.running import small_blocks

import gaecli

pytestmark = pytest.mark.parity_heavy

VERL = Source(
    "verl==0.9.1",
    "verl/trainer/ppo/core_algos.py",
    "a54b6d812db4441e8b0989ae69d2c46b0a0a7b584296f73d8316f264462c37cb",
)
SWIFT = Source(
    "ms-swift==4.6.0",
    "swift/rl_core/advantage.py",
    "397e403576ad2557e0e7ee80130e0b37b1e400fa1c71a00eeee9d03e32354f64",
)
SWIFT_TENSORS = Source(
    "ms-swift==4.6.0",
    "swift/utils/torch_utils.py",
    "345011337478a017030c945e3ba147e9628cf634e01e854724d8db2afdde95a4",
)
OPEN_INSTRUCT = Source(
    "allenai/open-instruct@5ae8f7467a6cf57a45459f4b2f9a69428eecbfb6",
    "open_instruct/data_loader_utils.py",
    "5099d472fa697a7f099bd5531a270c5e9fcba0be92e11166277689da59fc1928",
)
_PRIME = "PrimeIntellect-ai/prime-rl@559b44772e471d1538537b8805cc77f3824a5e64"
PRIME_MAX_RL = Source(
    _PRIME,
    "src/prime_rl/orchestrator/algo/max_rl.py",
    "d128d53f51ccfdeca0bd41b7aa1a1af4764f11c338f461c6fe06f258ec751a87",
)

PRIME_RAE = Source(
    _PRIME,
    "src/prime_rl/orchestrator/algo/rae.py",
    "37bf70d6f76f2e90b2847795d982ae61c0fe313f3fe7d8d6c2a9c8350b8b3867",
)

#: Prompts of three to five responses, one without variance, one whose mean is negative, and one with two best ones.
SIZES = {"a": 4, "b": 3, "c": 5, "d": 4, "e": 4}
SCORES = [
    *(1.0, 0.0, 0.0, 1.0), *(0.5, 0.5, 0.5), *(0.0, 3.0, 0.25, -1.0, 0.75),
    *(-2.0, 0.5, -0.25, -0.5), *(0.25, 0.0, 1.75, 0.5),
]  # fmt: skip
PROMPTS = [prompt for prompt, size in SIZES.items() for _ in range(size)]
#: With a prompt of a single response.
WITH_ONE = ([*PROMPTS, "f"], [*SCORES, 0.75])
#: Float32 there, float64 here.
TOLERANCE = {"rtol": 2e-6, "atol": 2e-6}


def computed(folder: Path, prompts: list[str], **settings: Any) -> np.ndarray:
    """Of rows that are not in the order of their groups, and cut into blocks."""
    order = np.random.default_rng(1).permutation(len(prompts))
    columns = {
        name: settings.pop(name) for name in ("reward", "right", "form", "length", "came") if name in settings
    }
    table = pa.table({"prompt": prompts, **columns}).take(order)
    path = folder / "r.parquet"
    pq.write_table(table, path, row_group_size=6)
    with small_blocks(4, dtype=np.float64):
        gaecli.compute(path, group_column="prompt", **settings)
    found = np.empty(len(prompts))
    found[order] = pq.read_table(path)["advantage"].to_numpy()
    return found


@pytest.mark.parametrize(
    ("estimator", "function", "settings", "theirs"),
    [
        ("grpo", "compute_grpo_outcome_advantage", {}, {"norm_adv_by_std_in_grpo": True}),
        ("dr-grpo", "compute_grpo_outcome_advantage", {}, {"norm_adv_by_std_in_grpo": False}),
        ("rloo", "compute_rloo_outcome_advantage", {}, {}),
        ("opo", "compute_opo_outcome_advantage", {"length_column": "length"}, {}),
        ("gpg", "compute_gpg_outcome_advantage", {}, {}),
        ("passk", "compute_grpo_passk_outcome_advantage", {}, {"config": {}}),
        (
            "passk",
            "compute_grpo_passk_outcome_advantage",
            {"scale_rewards": "none"},
            {"config": {"norm_adv_by_std_in_grpo": False}},
        ),
    ],
)
def test_verl(
    tmp_path: Path, estimator: str, function: str, settings: dict[str, Any], theirs: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    prompts, scores = (PROMPTS, SCORES) if estimator == "passk" else WITH_ONE
    lengths = [1 + index % 4 for index in range(len(scores))]
    mask = torch.tensor([[float(token < length) for token in range(4)] for length in lengths])
    rewards = torch.zeros_like(mask)
    rewards[range(len(scores)), [length - 1 for length in lengths]] = torch.tensor(scores)
    scope = {"torch": torch, "np": np, "defaultdict": defaultdict}
    wanted, _ = cut(VERL, function, **scope)(rewards, mask, np.array(prompts), **theirs)
    found = computed(
        tmp_path, prompts, reward=scores, length=lengths, preset="verl", estimator=estimator, **settings
    )
    np.testing.assert_allclose(found, wanted[:, 0].numpy(), **TOLERANCE)


def test_verl_has_no_pass_at_k_of_one(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    function = cut(VERL, "compute_grpo_passk_outcome_advantage", torch=torch, np=np, defaultdict=defaultdict)
    with pytest.raises(ValueError, match="at least 2"):
        function(torch.ones(1, 1), torch.ones(1, 1), np.array(["a"]), config={})
    with pytest.raises(gaecli.DataError, match="a single trajectory"):
        computed(tmp_path, ["a"], reward=[1.0], preset="verl", estimator="passk")


@pytest.mark.parametrize(
    ("estimator", "function"),
    [
        ("grpo", "compute_grpo_outcome_advantage"),
        ("rloo", "compute_rloo_outcome_advantage"),
        ("max-rl", "compute_maxrl_advantage"),
    ],
)
def test_skyrl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: str, function: str) -> None:
    torch = pytest.importorskip("torch")
    silent = SimpleNamespace(warning=lambda *told: None)  # it tells of the group of one
    monkeypatch.setitem(sys.modules, "loguru", SimpleNamespace(logger=silent))
    prompts, scores = WITH_ONE
    scope = {"torch": torch, "np": np, "defaultdict": defaultdict}
    rewards = torch.tensor(scores)[:, None]
    wanted, _ = cut(SKYRL, function, **scope)(rewards, torch.ones_like(rewards), np.array(prompts))
    found = computed(tmp_path, prompts, reward=scores, preset="skyrl", estimator=estimator)
    np.testing.assert_allclose(found, wanted[:, 0].numpy(), **TOLERANCE)


@pytest.mark.parametrize(
    ("estimator", "kind"), [("grpo", "standard"), ("dr-grpo", "centered"), ("max-rl", "max_rl")]
)
def test_open_instruct(tmp_path: Path, estimator: str, kind: str) -> None:
    names = ("_expand_per_group_values", "expand_grouped_scores", "compute_grouped_advantages")
    function = cut(OPEN_INSTRUCT, *names, np=np)
    prompts, scores = WITH_ONE
    wanted = function(np.array(scores), [*SIZES.values(), 1], advantage_normalization_type=kind)
    found = computed(tmp_path, prompts, reward=scores, preset="open-instruct", estimator=estimator)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_prime_rl_max_rl(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    prompts, scores = WITH_ONE
    given: dict[int, float] = {}
    scope = {
        "torch": torch,
        "Algorithm": object,
        "iter_trainable_traces": lambda episodes: [(None, one) for one in episodes],
        "assign_advantages": lambda trace, advantage: given.__setitem__(trace.row, advantage),
    }
    algorithm = cut(PRIME_MAX_RL, "MaxRLAlgorithm", **scope)()
    for prompt in dict.fromkeys(prompts):
        rows = [row for row, other in enumerate(prompts) if other == prompt]
        asyncio.run(algorithm.score_group([SimpleNamespace(reward=scores[row], row=row) for row in rows]))
    found = computed(tmp_path, prompts, reward=scores, preset="prime-rl", estimator="max-rl")
    np.testing.assert_allclose(found, [given[row] for row in range(len(scores))], **TOLERANCE)


def test_prime_rl_rae(tmp_path: Path) -> None:
    given: dict[int, float] = {}
    scope = {
        "Algorithm": object,
        "iter_trainable_traces": lambda episodes: [(None, one) for one in episodes],
        "assign_advantages": lambda trace, advantage: given.__setitem__(trace.row, advantage),
    }
    kind = cut(PRIME_RAE, "RAEAlgorithm", **scope)
    algorithm = kind.__new__(kind)
    algorithm.decay, algorithm.baselines = 0.95, defaultdict(float)
    came = np.random.default_rng(2).permutation(len(SCORES))
    traces = [
        SimpleNamespace(reward=SCORES[row], row=row, agent=SimpleNamespace(name=PROMPTS[row]))
        for row in np.argsort(came).tolist()
    ]
    for start in range(0, len(traces), 4):
        asyncio.run(algorithm.score_group(traces[start : start + 4]))
    found = computed(
        tmp_path, PROMPTS, reward=SCORES, came=came, preset="prime-rl", estimator="rae", order_column="came"
    )
    np.testing.assert_allclose(found, [given[row] for row in range(len(SCORES))], rtol=1e-12)


def two_rewards(num: int) -> tuple[list[float], list[float]]:
    random = np.random.default_rng(4)
    return random.integers(0, 2, num).astype(float).tolist(), random.normal(size=num).round(2).tolist()


def test_nemo_gdpo(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    prompts = WITH_ONE[0]
    right, form = two_rewards(len(prompts))
    scope = {"torch": torch, "AdvEstimatorConfig": object, "ClippedPGLossConfig": object}
    scope["calculate_baseline_and_std_per_prompt"] = cut(
        NEMO_UTILS, "calculate_baseline_and_std_per_prompt", torch=torch
    )
    scope["get_gdpo_reward_component_keys"] = cut(NEMO_UTILS, "get_gdpo_reward_component_keys")
    config = SimpleNamespace(
        use_leave_one_out_baseline=False, normalize_rewards=True, reward_weights=[0.5, 1.0]
    )
    numbers = torch.tensor([[ord(prompt)] for prompt in prompts])
    batch = {"reward/right": torch.tensor(right), "reward/form": torch.tensor(form)}
    wanted = cut(NEMO, "GDPOAdvantageEstimator", **scope)(config, None).compute_advantage(
        numbers, None, torch.ones(len(prompts), 1), batch
    )
    found = computed(
        tmp_path,
        prompts,
        right=right,
        form=form,
        preset="nemo",
        estimator="gdpo",
        rewards={"right": 1.0, "form": 0.5},
    )
    np.testing.assert_allclose(found, wanted[:, 0].numpy(), **TOLERANCE)


@pytest.mark.parametrize(
    ("estimator", "settings", "theirs"),
    [
        ("grpo", {}, ("grpo", "group")),
        ("grpo-batch", {}, ("grpo", "batch")),
        ("dr-grpo", {}, ("grpo", "none")),
        ("rloo", {}, ("rloo", "group")),
        ("rloo", {"scale_rewards": "none"}, ("rloo", "none")),
        ("rf++-baseline", {}, ("reinforce_plus_plus", "batch")),
        ("gdpo", {}, ("grpo", "gdpo")),
    ],
)
def test_ms_swift_with_rewards_that_are_missing(
    tmp_path: Path, estimator: str, settings: dict[str, Any], theirs: tuple[str, str]
) -> None:
    """Some of one function, and all of one response."""
    torch = pytest.importorskip("torch")
    prompts = [prompt for prompt in "abc" for _ in range(4)]
    right, form = two_rewards(len(prompts))
    right[2] = form[2] = form[5] = math.nan
    scope = {"torch": torch, "nanstd": cut(SWIFT_TENSORS, "nanstd", torch=torch)}
    wanted, _ = cut(SWIFT, "compute_advantages", **scope)(
        torch.tensor([right, form]).double().T, torch.tensor([1.0, 0.5]).double(), 4, *theirs
    )
    found = computed(
        tmp_path,
        prompts,
        right=right,
        form=form,
        preset="ms-swift",
        estimator=estimator,
        rewards={"right": 1.0, "form": 0.5},
        **settings,
    )
    np.testing.assert_allclose(found, wanted.numpy(), **TOLERANCE)
