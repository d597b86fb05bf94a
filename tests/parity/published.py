"""The published files that functions of libraries are taken out of, at releases and revisions that do not move."""

from __future__ import annotations

from parity.sources import Source

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
