"""Faults: what power cuts, full disks and damaged files may cost, and what they may not."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

T = "tests/test_faults.py::test_"
CUT = T + "a_power_cut_at_any_operation_leaves_no_half_file_and_the_same_command_comes_to_the_same_end"
FULL = T + "a_disk_that_is_full_from_any_operation_on_is_told_by_path_and_what_stood_before_is_intact"
TWO = T + "a_run_keeps_two_checkpoints"
BEFORE = T + "where_the_last_checkpoint_is_damaged_a_run_goes_on_from_the_one_before_it"
NEVER = T + "a_damaged_checkpoint_never_takes_the_place_of_the_one_before_it"
BOTH = T + "where_both_checkpoints_are_damaged_the_run_is_refused_with_the_reason"
BYTES = T + "a_checkpoint_of_which_any_byte_was_changed_or_lost_is_refused_or_read_as_it_was"
SEALS = T + "a_checkpoint_without_one_of_its_checksums_is_refused"
LOG = T + "a_log_with_a_torn_end_is_read_up_to_it"
SHARD = T + "a_shard_that_is_cut_anywhere_is_made_again"
PLACE = T + "a_place_that_cannot_be_written_is_named"
ORDER = T + "what_is_written_is_flushed_before_it_gets_its_name"
STEP = "tests/test_files.py::test_a_folder_is_replaced_in_one_step_where_names_can_be_exchanged"

PROMISES = [
    Promise(
        "Power may be cut before any operation on files of an export, a search, a training, a published folder or a"
        " recipe: no half file is read as whole, what is replaced is never gone where names can be exchanged, and the"
        " same command comes to the same end.",
        (CUT, ORDER, STEP),
        (
            Break(
                "python/onepfrac/files.py",
                "            file.flush()\n            os.fsync(file.fileno())\n",
                "            file.flush()\n",
                (ORDER, CUT),
            ),
            Break(
                "python/onepfrac/categories.py",
                "                write_text(fresh / name,",
                "                path.mkdir(exist_ok=True)\n                write_text(path / name,",
                (CUT,),
            ),
            Break(
                "python/onepfrac/files.py",
                "    sync_folder(target.parent)  # before",
                "    pass  # before",
                (CUT,),
            ),
            Break(
                "python/onepfrac/files.py",
                "    elif not exchange(source, target):\n",
                "    else:\n",
                (CUT, STEP),
            ),
            Break("python/onepfrac/files.py", "    sync_folder(target.parent)\n", "", (ORDER, CUT)),
            Break(
                "python/onepfrac/export.py",
                "        sync_file_system(self.root)  # one call for all files: a flush of each takes 0.2 to 4 ms\n",
                "",
                (CUT,),
            ),
            Break("python/onepfrac/export.py", "            _flush(file)\n            file.close()\n", "", (CUT,)),
            Break("python/onepfrac/train/experiments/results.py", "        os.fsync(file.fileno())\n", "", (CUT,)),
            Break(
                "python/onepfrac/train/run_folder.py",
                "        os.fsync(self._file.fileno())  # the checkpoint of this step must not outlive its line\n",
                "",
                (CUT,),
            ),
            Break(
                "python/onepfrac/train/finetune.py",
                "        if settings.resume and _wrote_weights(settings):\n",
                "        if False:\n",
                (CUT,),
            ),
            Break(
                "python/onepfrac/train/finetune.py",
                "        if rank == 0:\n            _tidy(out)\n",
                "",
                (CUT,),
            ),
        ),
    ),
    Promise(
        "A disk that is full, or a place that cannot be written, is told by its path; what stood there is intact.",
        (FULL, PLACE),
        (
            Break(
                "python/onepfrac/files.py",
                'raise OSError(error.errno, f"cannot write {target}: {error.strerror}") from error',
                'raise OSError(error.errno, f"cannot write: {error.strerror}") from error',
            ),
        ),
    ),
    Promise(
        "A checkpoint of which a byte was changed or lost is refused with the reason, and the run goes on from the one"
        " before it.",
        (TWO, BEFORE, NEVER, BOTH, BYTES, SEALS),
        (
            Break(
                "python/onepfrac/train/run_folder.py",
                "        _keep(path)\n",
                "        pass\n",
                (TWO, BEFORE),
            ),
            Break(
                "python/onepfrac/train/run_folder.py",
                "    for path in (Path(out, CHECKPOINT), Path(out, OLDER)):\n",
                "    for path in (Path(out, CHECKPOINT),):\n",
                (BEFORE,),
            ),
            Break(
                "python/onepfrac/train/run_folder.py",
                "        os.replace(folder / OLDER, folder / CHECKPOINT)\n",
                "        pass\n",
                (NEVER,),
            ),
            Break(
                "python/onepfrac/train/run_folder.py",
                "    if damage is not None:\n        raise damage\n    return None\n",
                "    return None\n",
                (BOTH,),
            ),
            Break("python/onepfrac/train/checkpoint.py", "    check_seal(info, str(path))\n", "", (BEFORE, BYTES)),
            Break(
                "python/onepfrac/train/checkpoint.py",
                "        check_digest(tensors, info, str(path))\n",
                "        pass\n",
                (BYTES,),
            ),
            Break(
                "python/onepfrac/train/digest.py",
                '    if (found := digest(tensors)) != info.get("sha256"):\n',
                '    if "sha256" in info and (found := digest(tensors)) != info["sha256"]:\n',
                (SEALS,),
            ),
            Break(
                "python/onepfrac/train/checkpoint.py",
                "    check_seal(info, str(path))\n",
                '    if "header_sha256" in info:\n        check_seal(info, str(path))\n',
                (SEALS,),
            ),
        ),
    ),
    Promise(
        "A log that ends in a torn line is read up to it.",
        (LOG,),
        (
            Break(
                "python/onepfrac/train/run_folder.py",
                '        if not isinstance(line, dict) or type(line.get("step")) is not int:\n            break\n',
                "",
            ),
        ),
    ),
    Promise(
        "A shard of an export that was cut short, or ends in zeros, is made again.",
        (SHARD,),
        (
            Break("python/onepfrac/export.py", "return rest == _end(place)", "return True"),
            Break("python/onepfrac/export.py", "end - len(png.END)) != png.END", "end - len(png.END)) is None"),
        ),
    ),
]
