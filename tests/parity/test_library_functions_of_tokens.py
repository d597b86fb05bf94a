"""Presets over tokens against the libraries' own functions, cut out of the files that they published.

As `test_library_functions.py`: deselected by default, skipped without a network.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.published import AREAL, NEMO, NEMO_UTILS, OPENRLHF, ROLL, SKYRL, SKYRL_UTILS, SLIME, TRL
from parity.sources import cut, run
from parity.test_libraries import GAMMA, LAM, compare

import gaecli

pytestmark = pytest.mark.parity_heavy

MASKED = ("masked_mean", "masked_var")


class TestTokens:
    """Through files, whose new columns are float32: every slot, masked ones included."""

    @pytest.fixture(params=[(1.0, 1.0), (1.0, LAM), (GAMMA, LAM)], ids=str)
    def batch(self, request, tmp_path):
        torch = pytest.importorskip("torch")
        gamma, lam = request.param
        random = np.random.default_rng(17)
        shape = (24, 37)
        mask = (np.arange(shape[1]) < random.integers(1, shape[1], shape[0])[:, None]) & (
            random.random(shape) < 0.85
        )
        mask[:, 0] = True
        rewards, values = random.normal(size=(2, *shape)).astype(np.float32)
        tensors = SimpleNamespace(
            **{
                name: torch.from_numpy(array)
                for name, array in {"rewards": rewards, "values": values}.items()
            },
            mask=torch.from_numpy(mask.astype(np.float32)),
        )
        return SimpleNamespace(
            torch=torch, gamma=gamma, lam=lam, rewards=rewards, values=values, mask=mask, tensors=tensors,
            path=tmp_path / "r.parquet",
        )  # fmt: skip

    def check(self, preset, source, batch, expected, rewards=None, *, truncated=None, **settings):
        columns = {
            "rewards": list(batch.rewards if rewards is None else rewards),
            "values": list(batch.values),
            "response_mask": list(batch.mask.astype(int)),
        }
        if truncated is not None:
            columns["truncated"] = truncated
        pq.write_table(pa.table(columns), batch.path)
        gaecli.compute(batch.path, preset=preset, **{"gamma": batch.gamma, "lam": batch.lam, **settings})
        table = pq.read_table(batch.path)
        found = [np.array(table[name].to_pylist()) for name in ("advantage", "return")]
        compare(preset, source.version, "float32", found, [part.numpy() for part in expected])

    def test_trl(self, batch):
        """Responses are padded to the right; rewards of tokens come in as KL, a score where the trainer puts it."""
        torch = batch.torch
        length = batch.mask.shape[1]
        last = np.random.default_rng(18).integers(0, length, len(batch.mask))
        last[0] = length - 1  # a row that is full
        batch.mask = np.arange(length) <= last[:, None]
        whiten = cut(TRL, "masked_mean", "masked_var", "masked_whiten", torch=torch)
        names = run(
            TRL,
            "response_idxs = torch.arange(",
            "advantages = torch.masked_fill(",
            torch=torch,
            masked_whiten=whiten,
            args=SimpleNamespace(
                gamma=batch.gamma, lam=batch.lam, kl_estimator="k1", kl_coef=1.0, whiten_rewards=False
            ),
            INVALID_LOGPROB=1.0,
            responses=batch.tensors.rewards,
            sequence_lengths=torch.from_numpy(last),
            scores=batch.tensors.rewards[:, 0],
            logprobs=torch.zeros_like(batch.tensors.rewards),
            ref_logprobs=batch.tensors.rewards,
            values=batch.tensors.values,
        )
        expected = [names["advantages"], names["returns"]]
        self.check("trl", TRL, batch, expected, names["rewards"].numpy())

    def test_openrlhf(self, batch):
        function = cut(OPENRLHF, "get_advantages_and_returns", torch=batch.torch)
        tensors = batch.tensors
        expected = function(None, tensors.values, tensors.rewards, tensors.mask, batch.gamma, batch.lam)
        self.check("openrlhf", OPENRLHF, batch, expected, normalize="none")

    @pytest.mark.parametrize(
        "names", [("vanilla_gae",), ("chunked_discounted_returns", "chunked_gae")], ids=str
    )
    def test_slime(self, batch, names):
        torch, tensors = batch.torch, batch.tensors
        function = cut(SLIME, *names, torch=torch, F=torch.nn.functional)
        expected = function(tensors.rewards, tensors.values, batch.gamma, batch.lam)
        self.check("slime", SLIME, batch, expected)

    def test_areal(self, batch):
        torch, tensors = batch.torch, batch.tensors
        truncated = np.arange(len(batch.mask)) % 3 == 0
        expected = cut(AREAL, "_compute_token_level_gae", torch=torch)(
            tensors.rewards,
            tensors.values,
            torch.roll(tensors.mask, shifts=-1, dims=-1),
            torch.from_numpy(truncated.astype(np.float32)),
            batch.gamma,
            batch.lam,
        )
        self.check("areal", AREAL, batch, expected, truncated=truncated)

    @pytest.mark.parametrize("alpha", [0, 0.05, 0.5])
    def test_nemo_and_vapo(self, batch, alpha):
        torch = batch.torch
        options = {
            "gae_lambda": batch.lam, "gae_gamma": batch.gamma, "normalize_advantages": True,
            "gae_lambda_value": 1.0 if alpha else None, "gae_lambda_policy": None, "length_adaptive_alpha": alpha,
        }  # fmt: skip
        loss = SimpleNamespace(
            use_kl_in_reward=False, reference_policy_kl_penalty=0, reference_policy_kl_type=""
        )
        masked = {name: cut(NEMO_UTILS, "masked_mean", name, torch=torch, Optional=None) for name in MASKED}
        estimator = cut(NEMO, "GeneralizedAdvantageEstimator", torch=torch, **masked)(options, loss)
        scores = batch.rewards[:, 0]
        last = batch.mask.shape[1] - 1 - batch.mask[:, ::-1].argmax(axis=1)
        rewards = np.zeros_like(batch.rewards)
        rewards[np.arange(len(last)), last] = scores
        expected = estimator.compute_advantage(
            None, torch.from_numpy(scores), batch.tensors.mask, batch.tensors.values
        )
        if alpha:
            self.check("vapo", NEMO, batch, expected, rewards, lam=None, lam_alpha=alpha)
        else:
            self.check("nemo", NEMO, batch, expected, rewards)

    def test_skyrl(self, batch):
        torch, tensors = batch.torch, batch.tensors
        mean = cut(SKYRL_UTILS, "masked_mean", torch=torch)
        names = ("masked_var", "masked_whiten", "compute_gae_advantage_return")
        function = cut(SKYRL, *names, torch=torch, masked_mean=mean)
        expected = function(tensors.rewards, tensors.values, tensors.mask, batch.gamma, batch.lam)
        self.check("skyrl", SKYRL, batch, expected)

    @pytest.mark.parametrize("whitens", [False, True])
    def test_roll(self, batch, whitens):
        torch, tensors = batch.torch, batch.tensors
        names = (
            "masked_mean",
            "masked_var",
            "masked_whiten",
            "compute_gae_advantage_return",
            "compute_advantage",
        )
        data = SimpleNamespace(
            batch={"token_level_rewards": tensors.rewards, "values": tensors.values.clone()}, meta_info={}
        )
        cut(ROLL, *names, torch=torch)(
            data, batch.gamma, batch.lam, "gae", whiten_advantages=whitens, response_mask=tensors.mask
        )
        expected = [data.batch["advantages"], data.batch["returns"]]
        self.check("roll", ROLL, batch, expected, normalize="all" if whitens else "none")
