"""Recipes, categories, weights, states, photographs and folders that strangers made to do harm."""

from __future__ import annotations

from promises.promise import Break, Promise

__all__ = ["PROMISES"]

_T = "tests/test_untrusted.py::test_"
_EXPORT = "tests/test_export.py::test_"

JSON = _T + "json_takes_no_more_than_ten_times_its_size_and_64_mib"
SYSTEMS = _T + "long_lists_of_systems_are_far_from_the_bound_of_json"
SHORT = _T + "hostile_json_is_refused_soon_with_a_short_message"
TENSORS = _T + "hostile_tensors_are_refused_before_memory_is_taken"
MODEL = _T + "a_model_may_take_what_its_weights_let_expect"
SAME = _T + "a_bound_changes_no_weight_of_a_model_that_keeps_it"
ASKED = _T + "who_asks_for_more_classes_or_larger_pictures_gets_them"
OPERATIONS = _T + "no_operation_goes_beyond_its_limits"
ARGUMENTS = _T + "arguments_of_models_are_short_and_name_no_other_weights"
LITERALS = _T + "what_is_no_literal_is_the_text_itself"
HEADER = _T + "a_header_that_names_no_model_is_refused"
PATCHES = _T + "patches_of_thousands_of_pixels_are_not_resampled"
PROGRAM = _T + "a_program_among_the_images_of_a_class_is_not_run"
PHOTOS = _T + "photographs_are_bounded_in_pixels_and_no_programs"
PIXELS = _T + "the_text_of_an_image_is_not_decoded_where_it_is_too_long"
CATEGORIES = _T + "a_folder_of_categories_holds_files_and_nothing_that_never_ends"
EXPORT = _T + "the_state_of_an_export_is_a_file_and_its_recipe_is_read_no_further_than_needed"
SIZES = _T + "an_archive_with_sizes_from_a_stranger_is_made_again"
ARCHIVES = _T + "archives_hold_plain_files_with_names_of_digits"
CODE = _T + "no_reader_runs_what_it_reads"
STATES = _T + "hostile_states_are_refused_soon_with_a_short_message_and_change_nothing"
LINKS = _EXPORT + "links_do_not_lead_an_export_out_of_its_folder"
NAMES = _EXPORT + "an_export_has_the_names_that_its_numbers_give_and_no_others"

PROMISES = [
    Promise(
        "Nothing that is read from a file is run: no pickle, no expression, no other program, no connection.",
        (CODE, PROGRAM),
        (
            Break(
                "python/onepfrac/datasets/__init__.py", "return ast.literal_eval(text)", "return eval(text)", (CODE,)
            ),
            Break("python/onepfrac/train/options.py", "= ast.literal_eval(text)", "= eval(text)", (CODE,)),
            Break(
                "python/onepfrac/photos.py",
                "Image.open(photo, formats=pixel_formats())",
                "Image.open(photo)",
                (CODE,),
            ),
            Break(
                "python/onepfrac/train/images.py",
                "Image.open(path, formats=pixel_formats())",
                "Image.open(path)",
                (PROGRAM,),
            ),
        ),
    ),
    Promise(
        "Reading JSON takes at most 10 bytes of memory for each byte of the file and 64 MiB, whatever it holds.",
        (JSON, SYSTEMS),
        (
            Break(
                "python/onepfrac/files.py",
                "if wanted > _MEMORY_PER_BYTE * len(text) + _MEMORY_SPARE:",
                "if wanted > 100 * len(text) + _MEMORY_SPARE:",
            ),
        ),
    ),
    Promise(
        "Deep nesting, numbers of any size and texts of any length are refused soon, with a message of a few lines.",
        (SHORT, STATES),
        (
            Break("python/onepfrac/files.py", "except RecursionError:", "except KeyError:", (SHORT,)),
            Break("python/onepfrac/files.py", "{key!r:.80} stands twice", "{key!r} stands twice", (SHORT,)),
            Break(
                "python/onepfrac/stream.py",
                "must have the keys {sorted(here)}, got {got!r:.200}",
                "must have the keys {sorted(here)}, got {got!r}",
                (STATES,),
            ),
        ),
    ),
    Promise(
        "Headers of safetensors that claim terabytes, overlap, lie outside of the file or are bombs are refused before"
        " memory is taken.",
        (TENSORS,),
        (
            Break(
                "python/onepfrac/train/checkpoint.py",
                "    except SafetensorError as error:\n",
                "    except KeyError as error:\n",
            ),
        ),
    ),
    Promise(
        "A model that a stranger's header names takes no more memory and operations than its weights let expect, and is"
        " one of timm's, made without looking for a file or a connection.",
        (MODEL, OPERATIONS, ARGUMENTS, LITERALS, HEADER),
        (
            Break(
                "python/onepfrac/train/models.py",
                "with Bounded(bound.making) if bound else nullcontext():",
                "with nullcontext():",
                (MODEL,),
            ),
            Break(
                "python/onepfrac/train/models.py",
                "except RuntimeError as error:",
                "except KeyError as error:",
                (MODEL,),
            ),
            Break(
                "python/onepfrac/train/bounded.py",
                "self._operations += args[0].shape[args[1] if len(args) > 1 else 0]",
                "pass",
                (OPERATIONS,),
            ),
            Break(
                "python/onepfrac/train/bounded.py",
                "if size > self._limits.largest or self._bytes > self._limits.total:",
                "if self._bytes > 1000 * self._limits.total:",
                (OPERATIONS,),
            ),
            Break("python/onepfrac/train/options.py", "if key in _FIXED:", 'if key == "pretrained":', (ARGUMENTS,)),
            Break(
                "python/onepfrac/train/options.py",
                "except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):",
                "except (ValueError, SyntaxError):",
                (LITERALS,),
            ),
            Break(
                "python/onepfrac/train/models.py",
                "if type(trained) is not int or not 0 <= trained <= _MAX_NUMBER:",
                "if not isinstance(trained, int):",
                (HEADER,),
            ),
        ),
    ),
    Promise(
        "The bound changes no weight, and gives room to what the caller asks for himself.",
        (SAME, ASKED),
        (
            Break(
                "python/onepfrac/train/bounded.py",
                "        return func(*args, **kwargs)\n",
                "        if func.overloadpacket is torch.ops.aten.normal_:\n            torch.rand(1)\n"
                "        return func(*args, **kwargs)\n",
                (SAME,),
            ),
            Break(
                "python/onepfrac/train/weights.py",
                "bound_by(tensors, num_classes or 0, size or 0)",
                "bound_by(tensors)",
                (ASKED,),
            ),
        ),
    ),
    Promise(
        "Weights of patches of thousands of pixels are refused before they are resampled.",
        (PATCHES,),
        (Break("python/onepfrac/train/models.py", "_MAX_KERNEL = 64 * 64", "_MAX_KERNEL = 1 << 40"),),
    ),
    Promise(
        "Photographs that claim or hold more pixels than Pillow's bound are refused, as is an image's text that is too"
        " long, before they are decoded.",
        (PHOTOS, PIXELS),
        (
            Break(
                "python/onepfrac/photos.py",
                "except Image.DecompressionBombError as error:",
                "except KeyError as error:",
                (PHOTOS,),
            ),
            Break(
                "python/onepfrac/datasets/single_image.py",
                "if len(pixels) > 2 * canvas * columns + 1000:",
                "if False:",
                (PIXELS,),
            ),
        ),
    ),
    Promise(
        "Pipes, devices and endless files in the folder of a stranger are refused and not waited for.",
        (CATEGORIES, EXPORT),
        (
            Break(
                "python/onepfrac/categories.py",
                "    if not path.is_file():  # a folder",
                "    if path.is_dir():  # a folder",
                (CATEGORIES,),
            ),
            Break(
                "python/onepfrac/export.py",
                "    if path.is_symlink() or (path.exists() and not path.is_file()):",
                "    if path.is_dir():",
                (EXPORT,),
            ),
        ),
    ),
    Promise(
        "An export stays in its folder, whatever links lie there, and trusts no size that an archive there claims.",
        (LINKS, NAMES, SIZES),
        (
            Break(
                "python/onepfrac/export.py",
                "        if path.is_symlink() or not path.is_dir():\n            raise NotADirectoryError",
                "        if not path.is_dir():\n            raise NotADirectoryError",
                (LINKS,),
            ),
            Break(
                "python/onepfrac/export.py",
                'return f"{label:0{self._class_digits}}"',
                'return f"../{label:0{self._class_digits}}"',
                (NAMES,),
            ),
            Break("python/onepfrac/export.py", " or not 0 <= header.size <= most:", ":", (SIZES,)),
        ),
    ),
    Promise(
        "Archives made by an export hold plain files alone, with relative names of digits, without owner and time.",
        (ARCHIVES,),
        (
            Break(
                "python/onepfrac/export.py", "header = tarfile.TarInfo(name)", 'header = tarfile.TarInfo("/" + name)'
            ),
            Break(
                "python/onepfrac/export.py",
                "    header.size = len(data)\n",
                "    header.size = len(data)\n    header.mtime = 1\n",
            ),
        ),
    ),
]
