"""Presets against the libraries' own functions, cut out of the files that they published.

For libraries that do not install beside others, or whose function sits in a trainer: `sources.py` says where one
comes from. Deselected by default: `pytest -m parity_heavy`; skipped without a network.
"""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.sources import Source, cut, run
from parity.test_libraries import GAMMA, LAM, _jax, case, compare, episodes_of, raw

import gaecli

pytestmark = pytest.mark.parity_heavy
__all__ = ["case"]  # a fixture

OPENRLHF = Source(
    "openrlhf==0.11.2",
    "openrlhf/trainer/ppo_utils/experience_maker.py",
    "1defeef7fa22fc8ff6621d76f5a042a57ebfff4f83aa0338ef9a397de8f8563f",
    python="3.11",
)
SLIME = Source(
    "THUDM/slime@624b824a898ab0ec1fcb4d373004c7f3852bf515",
    "slime/utils/ppo_utils.py",
    "0f0ad5ee55ceb27ac7160a8665e324a2a5f57ff32ce1593f587d94ad587179cb",
)
NEMO = Source(
    "NVIDIA-NeMo/RL@7ea279abfbeb698b092856d0dab61e7cf39bc909",
    "nemo_rl/algorithms/advantage_estimator.py",
    "694e004dc8ff6f065e3259edd3172d6384424f849ba0278aa5bcece360139863",
)
NEMO_UTILS = Source(
    "NVIDIA-NeMo/RL@7ea279abfbeb698b092856d0dab61e7cf39bc909",
    "nemo_rl/algorithms/utils.py",
    "4b9014d79b5e2ce3246d7cda7b367ae98e0cc32da583ae4538880ba12d4c988f",
)
AREAL = Source(
    "areal-project/AReaL@cbff54d645d2cd8ee1f1c358a82f3f473588433d",
    "areal/trainer/ppo/gae.py",
    "dce906100f3cd9e920d6229204621d844aa6446f0e768bfe51c520726923b782",
)
SKYRL = Source(
    "skyrl==0.4.0",
    "skyrl/backends/skyrl_train/utils/ppo_utils.py",
    "cb9d86f1ba8c6317ab567cbe4e456aa475e927501341641e3f57cd43a9bb947f",
)
SKYRL_UTILS = Source(
    "skyrl==0.4.0",
    "skyrl/backends/skyrl_train/utils/torch_utils.py",
    "6b56d60aa32bae1a222af0c6222ed09649a12a4fefe41135a540ece66441c6d3",
)
ROLL = Source(
    "alibaba/ROLL@8eb27cc2dc34c4d1310b169d9b86d339004d811a",
    "roll/utils/functionals.py",
    "969d9fbc5afc896557c8834d1c35d60c259a31c9bc8db1f7d28bfce0c9396924",
)
AGILERL = Source(
    "agilerl==2.58.0",
    "agilerl/components/rollout_buffer.py",
    "ae14e15369d17b3101dfbe0e42fa112b989826cc1c0711b9ff909be46e97b28c",
)
ELEGANTRL = Source(
    "AI4Finance-Foundation/ElegantRL@7c64395ff4c2b53892fe6f9eaa3b58947136ffc1",
    "elegantrl/agents/AgentPPO.py",
    "b3580e5a58158ddb1815c2be0f37453204e8a242edfe7d229135abad5f34e001",
)
EVORL = Source(
    "EMI-Group/evorl@36836c0bd85ed1e3ad047fc4d9540544782b2d78",
    "evorl/utils/rl_toolkits.py",
    "6906a6cf8cd29731695006563df78452e3bb01f44bfb7aa2b1e40fd8af824150",
)
STOIX = Source(
    "EdanToledo/Stoix@8fff19c94a478c1e1ff75fbf10396d488aa25d70",
    "stoix/utils/multistep.py",
    "4dd412a8e0d25f681aaac040ce92e190f0a26251e952870339c7d3cd19e048a8",
)
PUREJAXRL = Source(
    "luchris429/purejaxrl@31756b197773a52db763fdbe6d635e4b46522a73",
    "purejaxrl/ppo.py",
    "6650c9f8943ed67e8d287d0dd1536e49d8f603e04550cdc506727e46b34024fd",
)
REJAX = Source(
    "rejax==0.1.3",
    "rejax/algos/ppo.py",
    "319535b808576e3e63b766fc84172e0a5edac2431f4eac70a26653894b43f951",
)
IKOSTRIKOV = Source(
    "ikostrikov/pytorch-a2c-ppo-acktr-gail@41332b78dfb50321c29bade65f9d244387f68a60",
    "a2c_ppo_acktr/storage.py",
    "8a1d49cb9a161623844712c9bc39cea300333f03833d9a8212baa8d289dbda7a",
)
MAPPO = Source(
    "marlbenchmark/on-policy@de66d7a4b23fac2513f56f96f73b3f5cb96695ac",
    "onpolicy/utils/shared_buffer.py",
    "78a19d8a0e7a49cde1f3efde45cac193c04d9c3e861bc979e57824ec9e000d0e",
)

SPINNING_UP = Source(
    "openai/spinningup@038665d62d569055401d91856abb287263096178",
    "spinup/algos/pytorch/ppo/ppo.py",
    "4522d149d54d7d759c613775ab787eb7fa754fcbfd103f28d7c4003ee815c264",
)
SPINNING_UP_CORE = Source(
    "openai/spinningup@038665d62d569055401d91856abb287263096178",
    "spinup/algos/pytorch/ppo/core.py",
    "581f0f7a4014b8631a1d73053d20bedcc00404359b726abb55b31d3b6ca357e6",
)
BASELINES_PPO1 = Source(
    "openai/baselines@ea25b9e8b234e6ee1bca43083f8f3cf974143998",
    "baselines/ppo1/pposgd_simple.py",
    "75bcf38698e5e5278a7cdb997b7ad699010c75db2cd4b6a18c919a9dbc00c00c",
)
BASELINES_PPO2 = Source(
    "openai/baselines@ea25b9e8b234e6ee1bca43083f8f3cf974143998",
    "baselines/ppo2/runner.py",
    "aba4e1dfefccc714c84eada8edd78ceb02f9d901816c31cb1cd296e7fd3aa5e4",
)

CLEANRL = Source(
    "vwxyzjn/cleanrl@fe8d8a03c41a7ef5b523e2e354bd01c363e786bb",
    "cleanrl/ppo.py",
    "d8dfbb7ac0b21e747b77d6e6673e566db4d6cdacc83bcebcd19cf87ad0e459ae",
)
CLEANRL_JAX = Source(
    "vwxyzjn/cleanrl@fe8d8a03c41a7ef5b523e2e354bd01c363e786bb",
    "cleanrl/ppo_atari_envpool_xla_jax.py",
    "a6963d31e4cec1e7c6e12391b65e19624e5f1dc6a9302cbbffc79d8c96e8af41",
)
TRL = Source(
    "trl==1.12.0",
    "trl/experimental/ppo/ppo_trainer.py",
    "7216ea9e94a1498aac2933890133fdbdd8af67891ee208b5371de63c1224c907",
)

Transition = namedtuple("Transition", ["done", "value", "reward"])


class _Unchecked:
    """Stands for `chex`: its assertions about shapes and types hold."""

    def __getattr__(self, name):
        return lambda *given: None


class TestSteps:
    @pytest.mark.parametrize(("truncation", "is_proper"), [("drop", True), ("zero", False)])
    def test_ikostrikov(self, case, truncation, is_proper):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        storage = storage_of(arrays, torch.from_numpy)
        storage.returns = torch.zeros_like(storage.value_preds)
        compute_returns = cut(IKOSTRIKOV, "compute_returns", torch=torch)
        compute_returns(storage, torch.from_numpy(arrays.last), True, GAMMA, LAM, is_proper)
        returns = storage.returns[:-1].numpy()
        found = raw("ikostrikov", rollout, truncation=truncation)
        compare("ikostrikov", IKOSTRIKOV.version, dtype, found, [(returns - arrays.values).T, returns.T])

    @pytest.mark.parametrize(("truncation", "is_proper"), [("drop", True), ("zero", False)])
    def test_mappo(self, case, truncation, is_proper):
        rollout, arrays, dtype = case
        buffer = storage_of(arrays, lambda array: array)
        vars(buffer).update(
            returns=np.zeros_like(buffer.value_preds),
            gamma=GAMMA,
            gae_lambda=LAM,
            algo="rmappo",
            _use_gae=True,
            _use_proper_time_limits=is_proper,
            _use_popart=False,
            _use_valuenorm=False,
        )
        cut(MAPPO, "compute_returns", np=np)(buffer, arrays.last)
        returns = buffer.returns[:-1]
        found = raw("mappo", rollout, truncation=truncation)
        compare("mappo", MAPPO.version, dtype, found, [(returns - arrays.values).T, returns.T])

    def test_spinning_up(self, case):
        signal = pytest.importorskip("scipy.signal")
        rollout, _, dtype = case
        scipy = SimpleNamespace(signal=signal)
        core = SimpleNamespace(discount_cumsum=cut(SPINNING_UP_CORE, "discount_cumsum", scipy=scipy))
        finish_path = cut(SPINNING_UP, "finish_path", np=np, core=core)
        advantages, returns = np.zeros((2, *rollout.shape))
        for env, steps in episodes_of(rollout):
            path = SimpleNamespace(
                rew_buf=rollout.rewards[env, steps], val_buf=rollout.values[env, steps], path_start_idx=0,
                ptr=steps.stop - steps.start, gamma=GAMMA, lam=LAM,
                adv_buf=advantages[env, steps], ret_buf=returns[env, steps],
            )  # fmt: skip
            has_died = rollout.terminated[env, steps][-1]
            finish_path(path, 0 if has_died else rollout.following[env, steps][-1])
        compare("spinup", SPINNING_UP.version, dtype, raw("spinup", rollout), [advantages, returns])

    def test_baselines_ppo1(self, case):
        rollout, arrays, dtype = case
        if dtype == "float64":
            pytest.skip("baselines computes in float32")
        segments = []
        for env in range(rollout.shape[0]):
            ended = rollout.ended[env]
            segment = {
                "rew": rollout.rewards[env],
                "vpred": rollout.values[env],
                "new": np.append(1, ended[:-1]),
            }
            segments.append(segment | {"nextvpred": arrays.last[env] * (1 - ended[-1])})
            cut(BASELINES_PPO1, "add_vtarg_and_adv", np=np)(segments[-1], GAMMA, LAM)
        expected = [np.array([segment[name] for segment in segments]) for name in ("adv", "tdlamret")]
        compare("baselines-ppo1", BASELINES_PPO1.version, dtype, raw("baselines-ppo1", rollout), expected)

    def test_baselines_ppo2(self, case):
        rollout, arrays, dtype = case
        if dtype == "float64":
            pytest.skip("baselines computes in float32")
        times = iter(range(rollout.shape[1]))
        observations = np.zeros(rollout.shape[0], np.float32)

        def act(observations, **state):
            runner.time = next(times)
            return observations, arrays.values[runner.time], None, observations

        def step(actions):
            now = runner.time
            return observations, arrays.rewards[now], arrays.ended[now], ({},) * rollout.shape[0]

        runner = SimpleNamespace(
            model=SimpleNamespace(step=act, value=lambda observations, **state: arrays.last),
            env=SimpleNamespace(step=step), nsteps=rollout.shape[1], gamma=GAMMA, lam=LAM,
            obs=observations, states=None, dones=np.ones(rollout.shape[0], bool),
        )  # fmt: skip
        run = cut(BASELINES_PPO2, "sf01", "run", np=np)
        _, returns, _, _, values, *_ = run(runner)
        expected = [part.reshape(rollout.shape) for part in (returns - values, returns)]
        compare("baselines-ppo2", BASELINES_PPO2.version, dtype, raw("baselines-ppo2", rollout), expected)

    def test_cleanrl(self, case):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        starts = np.vstack([np.ones(rollout.shape[0]), arrays.ended[:-1]])
        names = run(
            CLEANRL,
            "next_value = agent.get_value(",
            "returns = advantages + values",
            torch=torch,
            device="cpu",
            args=SimpleNamespace(num_steps=rollout.shape[1], gamma=GAMMA, gae_lambda=LAM),
            agent=SimpleNamespace(get_value=lambda observations: observations),
            next_obs=torch.from_numpy(arrays.last),
            next_done=torch.from_numpy(arrays.ended[-1].astype(dtype)),
            dones=torch.from_numpy(starts.astype(dtype)),
            rewards=torch.from_numpy(arrays.rewards),
            values=torch.from_numpy(arrays.values),
        )
        expected = [names[name].numpy().T for name in ("advantages", "returns")]
        compare("cleanrl", CLEANRL.version, dtype, raw("cleanrl", rollout), expected)

    def test_cleanrl_jax(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        number, asarray = np.dtype(dtype).type, jax.numpy.asarray
        starts = np.vstack([np.ones(rollout.shape[0]), arrays.ended[:-1]]).astype(dtype)
        named = {"rewards": arrays.rewards, "values": arrays.values, "dones": starts}
        named["advantages"] = np.zeros_like(arrays.values)
        compute = cut(
            CLEANRL_JAX,
            "compute_gae",
            np=np,
            args=SimpleNamespace(num_steps=rollout.shape[1], gamma=number(GAMMA), gae_lambda=number(LAM)),
            network=SimpleNamespace(apply=lambda params, observations: observations),
            critic=SimpleNamespace(apply=lambda params, hidden: hidden[None]),
        )
        params = SimpleNamespace(critic_params=None, network_params=None)
        storage = compute(
            SimpleNamespace(params=params),
            asarray(arrays.last),
            asarray(arrays.ended[-1].astype(dtype)),
            _Storage(**{name: asarray(array) for name, array in named.items()}),
        )
        expected = [np.asarray(part).T for part in (storage.advantages, storage.returns)]
        compare("cleanrl-jax", CLEANRL_JAX.version, dtype, raw("cleanrl-jax", rollout), expected)

    def test_agilerl(self, case):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        if dtype == "float64":
            pytest.skip("AgileRL computes in float32")
        named = {"rewards": arrays.rewards, "dones": arrays.ended, "values": arrays.values}
        named |= {"advantages": np.zeros_like(arrays.values), "returns": np.zeros_like(arrays.values)}
        num_steps, num_envs = arrays.values.shape
        buffer = SimpleNamespace(
            buffer={name: torch.from_numpy(array.copy()) for name, array in named.items()},
            capacity=num_steps,
            full=True,
            num_envs=num_envs,
            use_gae=True,
            gamma=GAMMA,
            gae_lambda=LAM,
        )
        names = {"np": np, "torch": torch, "narrow_tensor": lambda tensor: tensor}
        compute = cut(AGILERL, "compute_returns_and_advantages", **names)
        compute(buffer, last_value=arrays.last, last_done=arrays.terminated[-1])
        expected = [buffer.buffer[name].numpy().T for name in ("advantages", "returns")]
        compare("agilerl", AGILERL.version, dtype, raw("agilerl", rollout), expected)

    def test_elegantrl(self, case):
        torch = pytest.importorskip("torch")
        rollout, arrays, dtype = case
        states = torch.from_numpy(arrays.values)[..., None]  # of which the critic is the identity
        agent = SimpleNamespace(
            cri=lambda states: states,
            last_state=torch.from_numpy(arrays.last)[:, None],
            gamma=GAMMA,
            lambda_gae_adv=LAM,
            if_use_v_trace=True,
        )
        advantages = cut(ELEGANTRL, "get_advantages", th=torch, TEN=torch.Tensor)(
            agent,
            states,
            torch.from_numpy(arrays.rewards.copy()),
            torch.from_numpy(~arrays.terminated),
            torch.from_numpy(~arrays.truncated),
            torch.from_numpy(arrays.values),
        ).numpy()
        expected = [advantages.T, (advantages + arrays.values).T]
        compare("elegantrl", ELEGANTRL.version, dtype, raw("elegantrl", rollout), expected)

    def test_evorl(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        number = np.dtype(dtype).type
        returns, advantages = cut(EVORL, "compute_gae", jax=jax, jnp=jax.numpy, chex=_Unchecked())(
            jax.numpy.asarray(arrays.rewards),
            jax.numpy.asarray(np.vstack([arrays.values, arrays.last])),
            jax.numpy.asarray(arrays.ended.astype(dtype)),
            jax.numpy.asarray(arrays.terminated.astype(dtype)),
            number(LAM),
            number(GAMMA),
        )
        expected = [np.asarray(advantages).T, np.asarray(returns).T]
        compare("evorl", EVORL.version, dtype, raw("evorl", rollout), expected)

    @pytest.mark.parametrize("is_standardized", [False, True])
    def test_stoix(self, case, is_standardized):
        jax = _jax()
        rollout, arrays, dtype = case
        number = np.dtype(dtype).type
        scope = {"jax": jax, "jnp": jax.numpy, "chex": _Unchecked()}
        advantages, targets = cut(STOIX, "batch_truncated_generalized_advantage_estimation", **scope)(
            jax.numpy.asarray(arrays.rewards),
            jax.numpy.asarray((~arrays.terminated * number(GAMMA)).astype(dtype)),
            number(LAM),
            v_tm1=jax.numpy.asarray(arrays.values),
            v_t=jax.numpy.asarray(arrays.following),
            truncation_t=jax.numpy.asarray(arrays.truncated.astype(dtype)),
            time_major=True,
            standardize_advantages=is_standardized,
        )
        found, returns = raw("stoix", rollout)
        if is_standardized:
            found = (found - found.mean()) / np.sqrt(found.var() + 1e-5)
        expected = [np.asarray(advantages).T, np.asarray(targets).T]
        compare("stoix", STOIX.version, dtype, [found, returns], expected)

    def test_purejaxrl(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        number = np.dtype(dtype).type
        config = {"GAMMA": number(GAMMA), "GAE_LAMBDA": number(LAM)}
        calculate = cut(PUREJAXRL, "_calculate_gae", jax=jax, jnp=jax.numpy, config=config)
        advantages, targets = calculate(transitions(jax, arrays, dtype), jax.numpy.asarray(arrays.last))
        expected = [np.asarray(advantages).T, np.asarray(targets).T]
        compare("purejaxrl", PUREJAXRL.version, dtype, raw("purejaxrl", rollout), expected)

    def test_rejax(self, case):
        jax = _jax()
        rollout, arrays, dtype = case
        if rollout.shape[0] == 1:
            pytest.skip("rejax drops the axis of a single environment")
        number = np.dtype(dtype).type
        algorithm = SimpleNamespace(gamma=number(GAMMA), gae_lambda=number(LAM))
        calculate = cut(REJAX, "calculate_gae", jax=jax, jnp=jax.numpy)
        advantages, targets = calculate(
            algorithm, transitions(jax, arrays, dtype), jax.numpy.asarray(arrays.last)
        )
        expected = [np.asarray(advantages).T, np.asarray(targets).T]
        compare("rejax", REJAX.version, dtype, raw("rejax", rollout), expected)


class _Storage(SimpleNamespace):
    """A data class of flax."""

    def replace(self, **changes):
        return _Storage(**{**vars(self), **changes})


def storage_of(arrays, of_array) -> SimpleNamespace:
    """T + 1 rows of values and of inverted flags, which are of the state that a step led to."""
    ones = np.ones_like(arrays.values[:1])
    return SimpleNamespace(
        rewards=of_array(arrays.rewards),
        value_preds=of_array(np.vstack([arrays.values, ones])),
        masks=of_array(np.vstack([ones, 1 - arrays.ended.astype(arrays.values.dtype)])),
        bad_masks=of_array(np.vstack([ones, 1 - arrays.truncated.astype(arrays.values.dtype)])),
    )


def transitions(jax, arrays, dtype) -> Transition:
    ended, asarray = arrays.ended.astype(dtype), jax.numpy.asarray
    return Transition(asarray(ended), asarray(arrays.values), asarray(arrays.rewards))


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
        """Responses are padded to the right; rewards of tokens come in as KL, and a score where the trainer puts it."""
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


MASKED = ("masked_mean", "masked_var")
