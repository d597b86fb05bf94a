"""Presets over turns, gaps that end trajectories, and λ by length against the libraries' own functions.

As `test_library_functions.py`: deselected by default, skipped without a network.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.published import AREAL, NEMO, NEMO_UTILS
from parity.sources import Source, cut
from parity.test_libraries import GAMMA, LAM, compare
from parity.test_library_functions_of_tokens import MASKED

import gaecli

pytestmark = pytest.mark.parity_heavy

AREAL_LAMBDAS = Source(
    "areal-project/AReaL@cbff54d645d2cd8ee1f1c358a82f3f473588433d",
    "areal/trainer/ppo/lambda_fn.py",
    "a185712c8163336cf47999a9e023a0d909e44cafdaca50210dccef53c79f6d7e",
)
AGILERL = Source(
    "agilerl==2.58.0",
    "agilerl/algorithms/ppo_llm.py",
    "c47c4381c7011154d07d68d0794638cc07d86f48628f0700e94ec129a3a861c9",
)
AGILERL_UTILS = Source(
    "agilerl==2.58.0",
    "agilerl/utils/llm_utils.py",
    "a1bc9a7e0b12818e6d5068e327681c9bec428c89ce7ab9b38cd44c48a8e6b966",
)
RAGEN = Source(
    "mll-lab-nu/RAGEN@20daedc47558e000f7de912b060646bf2e8026bd",
    "ragen/trainer/core_algos.py",
    "7f7580a215771fc31a4656bb44bbf16683fe0b70ef17a756af4bd763b0e41b55",
)


@pytest.fixture(params=[(1.0, 1.0), (1.0, LAM), (GAMMA, LAM)], ids=str)
def batch(request, tmp_path):
    """24 conversations of up to five turns in 48 slots: tokens of tools between them, padding behind."""
    torch = pytest.importorskip("torch")
    gamma, lam = request.param
    random = np.random.default_rng(23)
    turns = np.full((24, 48), -1)
    for row in turns:
        at = 0
        for turn in range(int(random.integers(1, 6))):
            at += int(random.integers(1, 4))
            length = int(random.integers(1, 6))
            row[at : at + length] = turn
            at += length
    rewards, values = random.normal(size=(2, *turns.shape)).astype(np.float32)
    mask = turns >= 0
    arrays = {"rewards": np.where(mask, rewards, np.float32(0)), "values": values, "turns": turns}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors["mask"] = torch.from_numpy(mask.astype(np.float32))
    return SimpleNamespace(
        torch=torch, gamma=gamma, lam=lam, mask=mask, path=tmp_path / "rows.parquet", **arrays,
        tensors=SimpleNamespace(**tensors),
    )  # fmt: skip


def check(preset, source, batch, expected, *, rewards=None, truncated=None, kept=None, **settings):
    """`kept`: the slots that are held against each other; None: all of them."""
    columns = {
        "rewards": list(batch.rewards if rewards is None else rewards),
        "values": list(batch.values),
        "response_mask": list(batch.mask.astype(int)),
        "turn_ids": list(batch.turns),
    }
    if truncated is not None:
        columns["truncated"] = truncated
    pq.write_table(pa.table(columns), batch.path)
    gaecli.compute(batch.path, preset=preset, **{"gamma": batch.gamma, "lam": batch.lam, **settings})
    table = pq.read_table(batch.path)
    found = [np.array(table[name].to_pylist()) for name in ("advantage", "return")]
    numbers = [part.numpy() for part in expected]
    if kept is not None:
        found, numbers = [part[kept] for part in found], [part[kept] for part in numbers]
    compare(preset, source.version, "float32", found, numbers)


def turn_level_of_areal(batch, truncated, lam):
    torch, tensors = batch.torch, batch.tensors
    turns = torch.roll(tensors.turns, shifts=-1, dims=-1)
    turns[:, -1] = -1
    return cut(AREAL, "_validate_turn_ids", "_compute_turn_level_gae", torch=torch)(
        tensors.rewards,
        tensors.values,
        torch.roll(tensors.mask, shifts=-1, dims=-1),
        turns,
        torch.from_numpy(truncated.astype(np.float32)),
        batch.gamma,
        lam,
    )


def test_areal_turn(batch):
    truncated = np.arange(len(batch.mask)) % 3 == 0
    expected = turn_level_of_areal(batch, truncated, batch.lam)
    check("areal-turn", AREAL, batch, expected, truncated=truncated)


@pytest.mark.parametrize(
    ("function", "option", "setting"),
    [
        ("relative_position_gae_lambda", {"q": 0.25}, {"lam_retain": 0.25}),
        ("vapo_length_adaptive_gae", {"alpha": 0.6}, {"lam_alpha": 0.6}),
    ],
)
def test_areal_turn_with_a_lambda_by_the_number_of_turns(batch, function, option, setting):
    import math

    truncated = np.zeros(len(batch.mask), bool)
    counts = [len(set(row[row >= 0])) for row in batch.turns]
    context = {"timestep_lengths": batch.torch.tensor(counts)}
    lams = cut(AREAL_LAMBDAS, function, torch=batch.torch, math=math)(context, **option)
    expected = turn_level_of_areal(batch, truncated, lams)
    check("areal-turn", AREAL, batch, expected, **{"lam": None, **setting})


@pytest.mark.parametrize("whitens", [False, True])
@pytest.mark.parametrize("over", ["turn", "token"])
def test_agilerl(batch, over, whitens):
    torch, tensors = batch.torch, batch.tensors
    algorithm = SimpleNamespace(
        gamma=batch.gamma, whiten_advantages=whitens, turn_value_reduction="final_value"
    )
    whiten = cut(AGILERL_UTILS, "masked_mean", "masked_var", "masked_whiten", torch=torch)
    scope = {"pool_by_turns": cut(AGILERL_UTILS, "pool_by_turns", torch=torch), "masked_whiten": whiten}
    values = torch.where(tensors.mask.bool(), tensors.values, 0.0)  # as `learn` hands them on
    given = (algorithm, tensors.rewards, values, tensors.mask.bool())
    if over == "turn":
        returns, advantages = cut(AGILERL, "_compute_gae_returns", torch=torch, **scope)(
            *given, tensors.turns, batch.lam
        )
    else:
        returns, advantages = cut(AGILERL, "_compute_gae_returns_token", torch=torch, **scope)(
            *given, batch.lam
        )
    normalize = "all" if whitens else "none"
    check(f"agilerl-llm-{over}", AGILERL, batch, [advantages, returns], normalize=normalize)


@pytest.mark.parametrize("turn_gamma", [0.99, 0.9])
def test_vagen_bilevel(batch, turn_gamma):
    """By RAGEN's release, which knows the ends of turns by rewards that are not 0; before it whitens."""
    torch, tensors = batch.torch, batch.tensors
    at_ends = batch.mask & (np.append(batch.turns[:, 1:], np.full((24, 1), -1), axis=1) != batch.turns)
    rewards = np.where(at_ends, batch.rewards, np.float32(0))
    raw = SimpleNamespace(masked_whiten=lambda advantages, mask: advantages)
    function = cut(RAGEN, "compute_bi_level_gae_advantage_return", torch=torch, verl_F=raw)
    expected = function(
        torch.from_numpy(rewards), tensors.values, tensors.mask, batch.gamma, batch.lam, turn_gamma
    )
    more = {"turn_gamma": turn_gamma, "normalize": "none"}
    check("vagen-bilevel", RAGEN, batch, expected, rewards=rewards, **more)


def test_nemo_with_a_lambda_for_values_of_its_own(batch):
    torch = batch.torch
    options = {
        "gae_lambda": batch.lam, "gae_gamma": batch.gamma, "normalize_advantages": True,
        "gae_lambda_value": 0.75, "gae_lambda_policy": 0.5, "length_adaptive_alpha": 0,
    }  # fmt: skip
    loss = SimpleNamespace(use_kl_in_reward=False, reference_policy_kl_penalty=0, reference_policy_kl_type="")
    masked = {name: cut(NEMO_UTILS, "masked_mean", name, torch=torch, Optional=None) for name in MASKED}
    estimator = cut(NEMO, "GeneralizedAdvantageEstimator", torch=torch, **masked)(options, loss)
    last = batch.mask.shape[1] - 1 - batch.mask[:, ::-1].argmax(axis=1)
    scores = batch.rewards[:, 5]
    rewards = np.zeros_like(batch.rewards)
    rewards[np.arange(len(last)), last] = scores
    expected = estimator.compute_advantage(
        None, torch.from_numpy(scores), batch.tensors.mask, batch.tensors.values
    )
    check("nemo", NEMO, batch, expected, rewards=rewards, lam=0.5, lam_value=0.75)
