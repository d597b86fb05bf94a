#!/usr/bin/env bash
# TF-Agents' PPO closes the GAE of an unfinished trajectory with the value of its last step, not of the state behind it.
#
# TF-Agents 0.19.0: `PPOAgent.compute_return_and_advantage` is given T rewards and T + 1 values, the last one of the state
# that the last step leads to. `compute_advantages` (`agents/ppo/ppo_agent.py`) cuts that last value off before it takes the
# last one that is left as the bootstrap:
#
#     value_preds = value_preds[:, :-1];  final_value = value_preds[:, -1]
#
# so that δ of the last step is r + γ V(s_{T-1}) - V(s_{T-1}), and V(s_T) is read by nobody. The returns of the same call are
# right: with λ = 1, where A + V must be the return, it is not. With γ = 0.99, λ = 1, rewards 0:
#
#     V = 0, 0, 0 | 100    returns 97.03, 98.01, 99    advantages 0, 0, 0              (97.03, 98.01, 99)
#     V = 0, 0, 100 | 0    returns 0, 0, 0             advantages 97.03, 98.01, -1     (0, 0, -100)
#
# A trajectory whose last step ends the episode is not touched (its discount is 0). With `use_td_lambda_return` the targets
# of the value function are A + V, and wrong by as much. It reaches about the last 1/(1 - γλ) steps of a trajectory that was
# cut for the sake of a batch: most of them where batches are short.
#
# What to do: drive whole episodes, or compute advantages outside with the T + 1 values.
#
# Downloads into a folder of its own, and fails if any of this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tf-agents==0.19.0 tensorflow-cpu==2.15.1 tensorflow-probability==0.23.0
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - 2>"$folder/log" <<'PY' || { cat "$folder/log" >&2; exit 1; }
import numpy as np
import tensorflow as tf
from tf_agents.agents.ppo.ppo_clip_agent import PPOClipAgent
from tf_agents.networks.actor_distribution_network import ActorDistributionNetwork
from tf_agents.networks.value_network import ValueNetwork
from tf_agents.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from tf_agents.trajectories.time_step import StepType, TimeStep, time_step_spec

GAMMA = 0.99
observation = TensorSpec((1,), tf.float32)
action = BoundedTensorSpec((1,), tf.float32, -1, 1)
agent = PPOClipAgent(
    time_step_spec(observation),
    action,
    tf.keras.optimizers.Adam(),
    actor_net=ActorDistributionNetwork(observation, action, fc_layer_params=(2,)),
    value_net=ValueNetwork(observation, fc_layer_params=(2,)),
    use_gae=True,
    lambda_value=1.0,
    discount_factor=GAMMA,
    normalize_rewards=False,
)


def of_one_trajectory(values, *, ends):
    """Returns and advantages of three steps without rewards, the last of which ends the episode or does not."""
    steps = TimeStep(
        step_type=tf.constant([[StepType.MID, StepType.MID, StepType.LAST if ends else StepType.MID]], tf.int32),
        reward=tf.zeros((1, 3)),
        discount=tf.constant([[1.0, 1.0, 0.0 if ends else 1.0]]),
        observation=tf.zeros((1, 3, 1)),
    )
    both = agent.compute_return_and_advantage(steps, tf.constant([values]))
    return [tensor.numpy()[0] for tensor in both]


def close(found, expected):
    return np.allclose(found, expected, rtol=1e-5, atol=1e-4)


print("TF-Agents 0.19.0, PPOClipAgent, gamma 0.99, lambda 1, rewards 0, three steps")
returns, behind = of_one_trajectory([0.0, 0.0, 0.0, 100.0], ends=False)
print("V = 0, 0, 0 | 100: returns", returns, "advantages", behind)
right = GAMMA * 100 * np.array([GAMMA**2, GAMMA, 1])
assert close(returns, right), "returns no longer reach the value behind the last step"
assert close(behind, 0), "the value behind the last step reaches the advantages"

none, last = of_one_trajectory([0.0, 0.0, 100.0, 0.0], ends=False)
print("V = 0, 0, 100 | 0: returns", none, "advantages", last)
assert close(none, 0)
assert close(last, [97.0299, 98.01, -1]), "the bootstrap is no longer the value of the last step itself"

_, ended = of_one_trajectory([0.0, 0.0, 100.0, 0.0], ends=True)
print("the same at the end of an episode:     advantages", ended)
assert close(ended, [0, 0, -100])
print("as described")
PY
