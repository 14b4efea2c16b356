"""Supply chain: dependencies, licence, versions of formats, what the package may not do, and the commands of .ci."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

T = "tests/test_supply.py::test_"
REASONS = T + "every_dependency_has_a_lower_bound_and_a_reason_for_each_of_its_bounds"
WITHIN = T + "the_lock_has_one_version_of_every_dependency_within_its_bounds"
PINS = T + "the_lock_pins_and_hashes_every_line_and_names_no_place_it_came_from"
SDIST = T + "the_source_distribution_holds_every_file_that_the_tests_need"
LICENCE = T + "the_licence_stands_in_sdist_project_and_installed_package"
CHANGELOG = T + "the_changelog_has_the_package_s_version_as_its_newest_and_keeps_the_form"
DEPRECATES = T + "what_the_package_deprecates_is_told_in_the_changelog"
TABLE = T + "the_table_of_formats_says_what_the_code_writes"
ROWS = T + "the_table_of_formats_has_a_reader_of_another_version_for_every_row"
NEXT = T + "a_file_of_the_next_format_version_is_refused_by_its_reader"
PICKLES = T + "the_package_neither_imports_a_pickler_nor_runs_data_nor_opens_the_network"
SECURITY = T + "security_names_tests_and_calls_that_exist"
STEPS = T + "every_step_of_the_nightly_run_starts_a_program_that_is_there"
LISTS = T + "the_nightly_run_lists_its_steps_and_says_which_there_are"
FAILS = T + "a_step_that_fails_keeps_no_other_from_running_and_the_run_fails"
MADE = T + "the_nightly_environment_is_made_from_the_lock_and_again_only_when_that_has_changed"
AUDIT = T + "the_audit_asks_for_every_version_and_passes_only_where_all_are_known_to_be_sound"

PROMISES = [
    Promise(
        "Every dependency is bounded below, and above where the next major is likely to break, each with its reason.",
        (REASONS,),
        (
            Break("pyproject.toml", '"tqdm>=4.64,<5", # dynamic columns;', '"tqdm>=4.64,<5", #'),
            Break("pyproject.toml", '"pytest>=8", # the', '"pytest", # the'),
        ),
    ),
    Promise(
        "The lock for development has one version of each dependency for every Python, within the bounds, with hashes"
        " of its files and without the place they came from.",
        (WITHIN, PINS),
        (
            Break("pyproject.toml", '"pillow>=10.1,<13"', '"pillow>=10.1,<12"', (WITHIN,)),
            Break(
                "requirements-dev.lock",
                "# pip install --require-hashes -r requirements-dev.lock\n",
                "# pip install --require-hashes -r https://example.org/requirements-dev.lock\n",
                (PINS,),
            ),
        ),
    ),
    Promise(
        "The source distribution holds all that its tests need, and the licence stands in it and in the package.",
        (SDIST, LICENCE),
        (
            Break("MANIFEST.in", "graft .ci\n", "", (SDIST,)),
            Break("pyproject.toml", 'license-files = ["LICENSE"]', "license-files = []", (LICENCE,)),
            Break("pyproject.toml", 'license = "MIT"', 'license = "ISC"', (LICENCE,)),
        ),
    ),
    Promise(
        "The changelog keeps its form, begins with the package's version and tells what is deprecated.",
        (CHANGELOG, DEPRECATES),
        (
            Break("python/onepfrac/_version.py", '"0.1.0"', '"0.1.1"', (CHANGELOG,)),
            Break("CHANGELOG.md", "## [Unreleased]", "## Unreleased", (CHANGELOG,)),
            Break(
                "python/onepfrac/train/options.py",
                "    arguments: dict[str, Any] = {}\n    for pair in pairs:\n",
                "    import warnings\n\n    warnings.warn('give a dict', DeprecationWarning, stacklevel=2)\n"
                "    arguments: dict[str, Any] = {}\n    for pair in pairs:\n",
                (DEPRECATES,),
            ),
        ),
    ),
    Promise(
        "Every format has a version, which the documentation states, and a file of another version is refused by"
        " whatever reads it.",
        (TABLE, ROWS, NEXT),
        (
            Break("python/onepfrac/export.py", "_VERSION = 1  #", "_VERSION = 2  #", (TABLE,)),
            Break("docs/versions.md", "| export | `export.json` |", "| exports | `export.json` |", (TABLE, ROWS)),
            Break(
                "python/onepfrac/datasets/recipe.py",
                'if values.get("format") != FORMAT_VERSION or',
                'if values.get("format", 0) < FORMAT_VERSION or',
                (NEXT,),
            ),
            Break("python/onepfrac/export.py", 'if there["export"] != _VERSION:', 'if not there["export"]:', (NEXT,)),
            Break("python/onepfrac/train/run_folder.py", 'if info.get("kind") != kind:', "if not info:", (NEXT,)),
            Break(
                "python/onepfrac/stream.py",
                'for key, here in (("format", FORMAT_VERSION), ("recipe", self._recipe.fingerprint)):',
                'for key, here in (("recipe", self._recipe.fingerprint),):',
                (NEXT,),
            ),
            Break(
                "python/onepfrac/train/weights.py",
                r'"weights of onepfrac (\w+), format 1"',
                r'"weights of onepfrac (\w+), format \d+"',
                (NEXT,),
            ),
        ),
    ),
    Promise(
        "The package imports no pickler, runs no data as code and opens no connection.",
        (PICKLES,),
        (
            Break("python/onepfrac/files.py", "import json\n", "import json\nimport pickle\n"),
            Break("python/onepfrac/train/options.py", "ast.literal_eval(text)", "eval(text)"),
        ),
    ),
    Promise(
        "What SECURITY.md says is shown by tests that exist, of calls that exist.",
        (SECURITY,),
        (Break("SECURITY.md", "`tests/test_weights.py`", "`tests/test_loaded_weights.py`"),),
    ),
    Promise(
        "The nightly run is one command, whose steps run whatever becomes of the others, and which fails if one does.",
        (STEPS, LISTS, FAILS, MADE),
        (
            Break(".ci/nightly", "stamp.read_text() == digest", "stamp.read_text()", (MADE,)),
            Break(".ci/nightly", '"{python}", ".ci/audit"', '"{python}", ".ci/audits"', (STEPS,)),
            Break(".ci/nightly", '(*PYTEST, "tests", "--ignore', '(*PYTEST, "--ignore', (STEPS,)),
            Break(".ci/nightly", "{step.name:14} {step.about}", "{step.about}", (LISTS,)),
            Break(
                ".ci/nightly",
                'outcomes[step.name] = "FAILED" if status else "passed"\n',
                'outcomes[step.name] = "passed"\n            if status:\n                break\n',
                (FAILS,),
            ),
            Break(".ci/nightly", 'return 0 if set(outcomes.values()) <= {"passed"} else 1', "return 0", (FAILS,)),
        ),
    ),
    Promise(
        "The audit asks for every version of the lock, and passes only where a service knows them all and nothing"
        " against them.",
        (AUDIT,),
        (
            Break(".ci/audit", "if skipped or len(answers) != asked:", "if skipped:"),
            Break(".ci/audit", "return 1 if known else 0", "return 0"),
        ),
    ),
]
