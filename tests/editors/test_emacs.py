"""The major mode for Emacs: colours, indentation, picture and build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EMACS = shutil.which("emacs")
pytestmark = pytest.mark.skipif(EMACS is None, reason="emacs is not installed: apt-get install emacs-nox")

FACES = """
(progn
  (find-file (pop command-line-args-left))
  (font-lock-ensure)
  (princ major-mode)
  (dolist (word command-line-args-left)
    (goto-char (point-min))
    (search-forward word)
    (princ (format "\\n%s" (get-text-property (match-beginning 0) 'face)))))
"""
INDENT = """
(progn
  (find-file (pop command-line-args-left))
  (indent-region (point-min) (point-max))
  (princ (buffer-string)))
"""


def run_emacs(form: str, *arguments: str) -> str:
    command = [
        str(EMACS),
        "-Q",
        "--batch",
        "-l",
        str(ROOT / "editors" / "emacs" / "parc-mode.el"),
        "--eval",
        form,
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_words_have_their_faces() -> None:
    words = ["128 devices", "cluster", "farm", "levels", '"moe.py', "true", "for seed", "seed on", "over ["]

    mode, *faces = run_emacs(FACES, str(ROOT / "examples" / "seed.parc"), *words).splitlines()
    assert mode == "parc-mode"
    assert dict(zip(words, faces, strict=True)) == {
        "128 devices": "font-lock-comment-face",
        "cluster": "font-lock-keyword-face",
        "farm": "font-lock-type-face",
        "levels": "font-lock-variable-name-face",
        '"moe.py': "font-lock-string-face",
        "true": "font-lock-constant-face",
        "for seed": "font-lock-keyword-face",
        "seed on": "font-lock-type-face",
        "over [": "font-lock-keyword-face",
    }


def test_it_indents_as_the_formatter_does(tmp_path: Path) -> None:
    text = (ROOT / "examples" / "seed.parc").read_text()
    flat = tmp_path / "flat.parc"
    flat.write_text("\n".join(line.lstrip() for line in text.split("\n")))

    assert run_emacs(INDENT, str(flat)) == text


RUN = """
(progn
  (require 'cl-lib)
  (require 'jsonrpc)
  (find-file (pop command-line-args-left))
  (goto-char (point-max))
  (cl-letf (((symbol-function 'eglot-current-server) (lambda () 'server))
            ((symbol-function 'eglot--TextDocumentIdentifier) (lambda () '(:uri "file:///plan.parc")))
            ((symbol-function 'jsonrpc-request)
             (lambda (&rest asked) (princ (format "%S\n" asked)) '(:plan "wide" :html "<h1>wide</h1>")))
            ((symbol-function 'browse-url-of-file)
             (lambda (file) (princ (with-temp-buffer (insert-file-contents file) (buffer-string)))))
            ((symbol-function 'compile) (lambda (command) (princ (format "\n%s" command)))))
    (parc-picture)
    (cl-letf (((symbol-function 'yes-or-no-p) #'ignore))
      (parc-build "wide"))
    (cl-letf (((symbol-function 'yes-or-no-p) (lambda (question) (princ (format "\n%s" question)) t)))
      (parc-build "wide; rm"))))
"""


def test_the_picture_opens_in_a_browser_and_a_build_is_asked_for_first(tmp_path: Path) -> None:
    file = tmp_path / "plan.parc"
    file.write_text("plan wide for seed on farm {\n}\n")
    asked, page, question, command = run_emacs(RUN, str(file)).splitlines()
    place = ":position (:line 2 :character 0)"
    assert asked == f'(server :parc/picture (:textDocument (:uri "file:///plan.parc") {place}))'
    assert page == "<h1>wide</h1>"
    assert question == "Building runs your model.  Build `wide; rm'? "
    assert (
        command == f"parc build {file} wide\\;\\ rm -o {tmp_path}/plan.wide\\;\\ rm"
    )  # one: the first answer was no
