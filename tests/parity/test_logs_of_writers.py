"""Logs of responses as the libraries' own functions write them, cut out of the files that they published.

Deselected by default: `pytest -m parity_heavy`; skipped without a network.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from parity.sources import Source, cut

import gaecli

pytestmark = pytest.mark.parity_heavy

TRL = Source(
    "trl==1.16.0",
    "trl/trainer/grpo_trainer.py",
    "1c3dc2253fb3653269c11dfce4f946f74201a4cb63e0887a37e8e3bb4a3f5503",
)
VERL = Source(
    "verl==0.9.1",
    "verl/trainer/ppo/ray_trainer.py",
    "eb41f99ccc66976eab14ebe35aa1aa5b7318e02469240ef1569ac4c884c94312",
)
SWIFT = Source(
    "ms-swift==4.6.0",
    "swift/rlhf_trainers/grpo_trainer.py",
    "53fddb594ce9a996da34b285984ce4fa3d8709fee4164cc88e98f1223732da2f",
)
SWIFT_FILES = Source(
    "ms-swift==4.6.0",
    "swift/utils/io_utils.py",
    "40ba5701936b3e620bc89e26b46616b83af0229a2c3a811f803b29163de63a5f",
)

SKYRL = Source(
    "skyrl==0.4.0",
    "skyrl/train/utils/trainer_utils.py",
    "65b5b37e52b826d44e0b08942a25c66efa695a6ad0925ecf775ad258a0a85733",
)

PROMPTS = ["2+2?"] * 3 + ["3+3?"] * 3
ACCURACY = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
FORMAT = [0.5, math.nan, 0.25, 1.0, 0.0, math.nan]
#: 2s - 1 for scores of two groups, so that rewards are told from what was made of them.
ADVANTAGES = [0.5, -0.5, 0.0, 0.25, -0.25, 0.0]


def _without_super() -> SimpleNamespace:
    """The base class of the trainers, which logs metrics."""
    return SimpleNamespace(log=lambda *given, **named: None)


def trainer(folder: Path, **more: Any) -> SimpleNamespace:
    logs: dict[str, Any] = {
        "prompt": [[{"role": "user", "content": prompt}] for prompt in PROMPTS],
        "completion": [[{"role": "assistant", "content": str(index)}] for index in range(6)],
        "rewards": {"accuracy_reward": ACCURACY, "format_reward": FORMAT},
        "advantages": ADVANTAGES,
        "extra": {},
        "images": [],
        **more,
    }
    return SimpleNamespace(
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
        _logs=logs,
        accelerator=SimpleNamespace(is_main_process=True),
        log_completions=True,
        state=SimpleNamespace(global_step=3),
        args=SimpleNamespace(report_to=[], output_dir=str(folder), log_entropy=False),
    )


def by_trl(folder: Path) -> Path:
    log = cut(
        TRL,
        "log",
        super=_without_super,
        math=math,
        os=os,
        pd=pd,
        is_rich_available=lambda: False,
        strip_images_from_messages=lambda messages: messages,
    )
    (folder / "completions").mkdir()
    log(trainer(folder), {})
    return folder / "completions" / "completions_00003.parquet"


def by_verl(folder: Path) -> Path:
    write = cut(VERL, "_write_generations", os=os, json=json, print=lambda *words: None)
    outputs = [str(index) for index in range(6)]
    scores = [np.float64(score) for score in ACCURACY]
    write(
        PROMPTS, outputs, ["4", ["6", "six"], None] * 2, scores, {"acc": ACCURACY, "pred": outputs}, folder, 3
    )
    return folder / "3.jsonl"


def by_swift(folder: Path) -> Path:
    writer = cut(
        SWIFT_FILES,
        "JsonlWriter",
        os=os,
        json=json,
        Queue=list,
        is_master=lambda: True,
        is_last_rank=lambda: True,
        check_json_format=lambda found: found,
        dist=SimpleNamespace(is_initialized=lambda: False),
        **{name: getattr(__import__("typing"), name) for name in ("Any", "Dict", "List", "Literal", "Union")},
    )
    version = SimpleNamespace(parse=lambda text: text)
    log = cut(
        SWIFT, "log", super=_without_super, version=version, transformers=SimpleNamespace(__version__="5")
    )
    given = trainer(folder, prompt=PROMPTS, completion=[str(index) for index in range(6)], solution=["4"] * 6)
    del given._logs["extra"], given._logs["images"]
    given.jsonl_writer = writer(str(folder / "completions.jsonl"))
    log(given, {})
    given.state.global_step = 4
    log(given, {})
    return folder / "completions.jsonl"


def by_skyrl(folder: Path) -> Path:
    dump = cut(
        SKYRL,
        "dump_per_dataset_eval_results",
        json=json,
        sanitize_data_source=lambda name: name,
        logger=SimpleNamespace(info=lambda words: None),
    )
    outputs = {
        "prompt_token_ids": PROMPTS,
        "response_ids": [str(index) for index in range(6)],
        "rewards": ACCURACY,
    }
    tokenizer = SimpleNamespace(decode=lambda text: text)
    dump(folder, tokenizer, outputs, ["gsm8k"] * 6, ["gsm8k"] * 6, [{}] * 6, {"pass": 0.5})
    return folder / "gsm8k.jsonl"


WRITERS: Mapping[str, tuple[Callable[[Path], Path], str, Sequence[str]]] = {
    "trl": (by_trl, "TRL completions", ("accuracy_reward", "format_reward")),
    "verl": (by_verl, "verl rollouts", ("score",)),
    "skyrl": (by_skyrl, "SkyRL evaluation results", ("score",)),
    "ms-swift": (by_swift, "ms-swift completions", ("accuracy_reward", "format_reward")),
}


@pytest.mark.parametrize("library", WRITERS)
def test_what_the_library_writes_is_recognised_and_computed(
    tmp_path: Path, run_gae: Callable[..., Any], library: str
) -> None:
    write, name, rewards = WRITERS[library]
    path = write(tmp_path)
    with pytest.raises(gaecli.UsageError, match=re.escape(f"looks like {name}")) as caught:
        gaecli.compute(path)
    assert f"({', '.join(rewards)})" in caught.value.message
    (command,) = re.findall(r"`gae (compute [^`]*)`", caught.value.hint or "")
    words = [*shlex.split(command), "--estimator", "dr-grpo"]
    assert run_gae(*words).returncode == 0
    column = words[words.index("--advantage-column") + 1] if "--advantage-column" in words else "advantage"
    if path.suffix == ".parquet":
        found = [pq.read_table(path)[column].to_pylist()]
    elif library in ("verl", "skyrl"):
        found = [[json.loads(line)[column] for line in path.read_text().splitlines()]]
    else:
        found = [json.loads(line)[column] for line in path.read_text().splitlines()]
        assert len(found) == 2
    scores = np.nansum([ACCURACY, FORMAT], axis=0) if len(rewards) == 2 else np.array(ACCURACY)
    for batch in found:
        expected = (scores.reshape(2, 3) - scores.reshape(2, 3).mean(axis=1, keepdims=True)).reshape(-1)
        np.testing.assert_allclose(batch, expected, atol=1e-6)  # float32
