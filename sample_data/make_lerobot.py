"""Make `reach_lerobot`: episodes of a simulated reaching task, written by lerobot itself. No real robot took part.

    pip install --no-deps lerobot==0.4.4
    pip install "datasets>=4.8,<5" "pandas<3" "numpy<2.3" av draccus einops jsonlines deepdiff imageio \
        opencv-python-headless gymnasium
    python sample_data/make_lerobot.py

A point is moved to a target, unsteadily; now and then somebody helps. What is recorded is whether it got there in
time (`next.success`) and who moved it (`intervention`): no reward and no value, as `lerobot-record` has none.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.append(
    str(HERE.parent / "tests")
)  # stand-ins for what lerobot imports and a set without video never calls

NUM_EPISODES = 10
TIME_LIMIT = 14
TOLERANCE = 0.1

FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]},
    "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    "intervention": {"dtype": "bool", "shape": (1,), "names": None},
}


def episode(random: np.random.Generator) -> list[dict[str, np.ndarray]]:
    position = random.uniform(-1, 1, 2)
    is_helped = random.random() < 0.25
    frames = []
    for step in range(TIME_LIMIT):
        helps = is_helped and step >= TIME_LIMIT // 2
        action = -0.15 * position + random.normal(0, 0.02 if helps else 0.08, 2)
        state, position = position, position + action
        success = bool(np.linalg.norm(position) < TOLERANCE)
        done = success or step == TIME_LIMIT - 1
        frames.append(
            {
                "observation.state": state.astype(np.float32),
                "action": action.astype(np.float32),
                "next.done": np.array([done]),
                "next.success": np.array([success]),
                "intervention": np.array([helps]),
            }
        )
        if done:
            break
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=HERE / "reach_lerobot")
    output = parser.parse_args().output

    from lerobot_stand_ins import install

    install()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    shutil.rmtree(output, ignore_errors=True)
    data = LeRobotDataset.create(
        "gaecli/reach", fps=10, features=FEATURES, root=output, robot_type="simulated", use_videos=False
    )
    random = np.random.default_rng(7)
    for _ in range(NUM_EPISODES):
        for frame in episode(random):
            data.add_frame({**frame, "task": "reach the target"})
        data.save_episode()
    data.finalize()
    shutil.rmtree(output / "images", ignore_errors=True)


if __name__ == "__main__":
    main()
