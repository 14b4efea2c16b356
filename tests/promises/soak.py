"""Long runs: what a soak shows that streams, checkpoints, kills, resumes and compares."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

STREAMS = "tests/test_soak.py::test_killed_streams_go_on_with_the_very_next_batch_on_any_ranks_workers_and_threads"
RUNS = "tests/test_soak.py::test_killed_runs_end_with_the_weights_and_losses_of_one_that_was_left_alone"
LEFT = "tests/test_soak.py::test_round_after_round_no_memory_threads_files_or_processes_are_left_behind"

PROMISES = [
    Promise(
        "A stream that is killed at any moment goes on from its last state with the very next batch, whatever the"
        " loader, and with other ranks, workers and threads than before.",
        (STREAMS,),
        (
            Break(
                "python/onepfrac/stream.py",
                "            self._samples = position\n",
                "            self._samples = position + self.global_batch_size\n",
            ),
            Break(
                "python/onepfrac/stream.py",
                "        first = batch * self.global_batch_size + self._rank * self._batch_size\n",
                "        first = batch * self.global_batch_size + (self._rank > 0) * self._batch_size\n",
            ),
        ),
    ),
    Promise(
        "A pre-training that is killed again and again ends with the weights, the checkpoint and the losses of one"
        " that was left alone.",
        (RUNS,),
        (
            Break(
                "python/onepfrac/train/pretrain.py",
                "    stream.load_state_dict(stream.state_at(start * settings.batch_size))\n",
                "",
            ),
            Break(
                "python/onepfrac/train/run_folder.py",
                'kept = [line for line in _lines(path) if line["step"] <= start]',
                "kept = _lines(path)",
            ),
        ),
    ),
    Promise(
        "Round after round a process keeps its memory, threads and open files, and no loader worker outlives a killed"
        " one.",
        (LEFT,),
        (Break("python/onepfrac/train/run_folder.py", "        self._board.close()\n", ""),),
    ),
]
