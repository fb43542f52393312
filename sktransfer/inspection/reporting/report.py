"""report: everything about a fitted classifier on one page."""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from sktransfer._common.files import check_writable, replaced_when_complete
from sktransfer._common.left_behind import temporary_folder
from sktransfer.exceptions import ParameterError
from sktransfer.inspection.reporting.as_data import as_data
from sktransfer.inspection.reporting.as_html import as_html
from sktransfer.inspection.reporting.as_markdown import as_markdown
from sktransfer.inspection.reporting.blocks import Document
from sktransfer.inspection.reporting.material import Material, material
from sktransfer.inspection.reporting.sections import SECTIONS
from sktransfer.inspection.reporting.sections.card import checked_card
from sktransfer.inspection.reporting.sections.scores import accuracy, usual_label
from sktransfer.inspection.subject import Subject

# Packages of the extra `report`.
_PACKAGES = ("fairlearn", "jinja2", "matplotlib")


class Report:
    """A report, in several formats. Use :func:`sktransfer.report` to make one.

    It holds texts, tables, plots and thumbnails, but neither the estimator nor the pictures.
    A notebook shows it by itself.
    """

    def __init__(self, document: Document) -> None:
        self._document = document

    def html(self) -> str:
        """The whole page, which needs no other file and no network."""
        return as_html(self._document, self._prefix(), whole=True)

    def html_snippet(self) -> str:
        """The content of the page, to be put into another one."""
        return as_html(self._document, self._prefix(), whole=False)

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Write the whole page to a file.

        A file that exists is replaced, once the new one is complete.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        OSError
            If the file can't be written.
        """
        page = self.html()
        with replaced_when_complete(path) as unfinished:
            # Names of files may hold bytes that are no text.
            unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")

    def markdown(self) -> str:
        """The texts and tables as Markdown, for instance as a model card."""
        return as_markdown(self._document)

    def json(self) -> str:
        """The texts and tables as JSON: the figures for other programs."""
        return json.dumps(as_data(self._document), ensure_ascii=False)

    def _repr_html_(self) -> str:
        # In a frame of its own, a page keeps its style from the notebook, and the notebook from it.
        # There, links within the page would lead to the notebook without a base of their own.
        framed = as_html(self._document, self._prefix(), whole=True, is_framed=True)
        page = html.escape(framed, quote=True)
        return (
            f'<iframe srcdoc="{page}" title="{html.escape(self._document.title, quote=True)}" '
            'style="width: 100%; height: 80vh; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        facts = ", ".join(f"{what}: {value}" for value, what in self._document.facts)
        n = len(self._document.warnings)
        warned = f"; see its {n} warnings" if n > 1 else "; see its warning" if n else ""
        return f"<Report: {self._document.title}; {facts}{warned}>"

    @property
    def warnings(self) -> list[str]:
        """Sentences about what makes the figures doubtful, which the page shows at its top."""
        return list(self._document.warnings)

    def _prefix(self) -> str:
        content = self.json().encode("utf-8", "backslashreplace")
        return f"r{hashlib.sha256(content).hexdigest()[:8]}-"


def report(
    estimator: Any,
    X_test: Any,
    y_test: Any,
    *,
    X_train: Any = None,
    y_train: Any = None,
    groups: Any = None,
    path: str | os.PathLike[str] | None = None,
    learning_curve: bool = False,
    card: Mapping[str, str] | None = None,
    title: str | None = None,
    random_state: int = 0,
) -> Report:
    """Report on a fitted classifier: mistakes, scores, calibration, groups, data, model card.

    Needs the extra ``report``.

    Parameters
    ----------
    estimator : classifier
        Fitted: a PretrainedImageClassifier, a Pipeline that begins with a
        PretrainedFeatureExtractor, a search over one of these, or any other classifier. Sections
        that need what a classifier does not have say so.
    X_test : array, list, Series or DataFrame
        Pictures that had no part in the fit. Those that can't be read any more are counted and
        left out.
    y_test : array-like of shape (n,), or indicator of shape (n, n_classes)
        Their labels.
    X_train : array, list, Series or DataFrame, optional
        The pictures of the fit. With them, the report shows the nearest training pictures of
        mistakes, checks the training data, and counts the pictures of each class.
    y_train : array-like of shape (n_train,), or indicator, optional
        Their labels.
    groups : array-like of shape (n,), optional
        The group of each test picture, such as its camera; see :func:`group_metrics`.
    path : str or path, optional
        Also write the page to this file.
    learning_curve : bool, default=False
        Also fit clones on a tenth to all of the training pictures. Takes some fits.
    card : mapping of str to str, optional
        Fields of the model card that are filled in: "intended use", "not for", "training data",
        "limits", "contact". The page has blanks for the others.
    title : str, optional
        By default the name of the estimator and of its backbone.
    random_state : int, default=0
        Seed of bootstrap samples, of cross-validation and of the learning curve.

    Returns
    -------
    report : Report
        With ``html()``, ``html_snippet()``, ``write_html(path)``, ``markdown()`` and ``json()``;
        a notebook shows it by itself.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no classifier.
    ValueError
        If X and y contradict each other, or no test picture can be read.
    ImportError
        If a package of the extra ``report`` is missing.

    Examples
    --------
    >>> from sktransfer import PretrainedImageClassifier, load_clipart, report
    >>> paths, labels = load_clipart(return_X_y=True)
    >>> classifier = PretrainedImageClassifier("efficientnet_lite0", image_size=96, random_state=0)
    >>> found = report(classifier.fit(paths[::5], labels[::5]), paths[1::10], labels[1::10])
    >>> found
    <Report: PretrainedImageClassifier on efficientnet_lite0; ...>
    >>> found.write_html("report.html")  # doctest: +SKIP
    """
    _check_packages()
    filled = checked_card(card)
    if path is not None:
        check_writable(path)
    if learning_curve and X_train is None:
        raise ParameterError(
            "learning_curve=True fits on training pictures: give X_train, y_train."
        )
    # Each section asks for what it needs, and no picture runs twice through the frozen stages.
    with temporary_folder() as folder:
        found = material(
            *(estimator, X_test, y_test),
            X_train=X_train,
            y_train=y_train,
            groups=groups,
            cache=str(folder),
            learning_curve=learning_curve,
            card=filled,
            seed=random_state,
        )
        sections = [section(found) for section in SECTIONS]
    made = Report(
        Document(
            _title(found.subject) if title is None else str(title),
            _facts(found),
            [section for section in sections if section is not None],
        )
    )
    if path is not None:
        made.write_html(path)
    return made


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ImportError(f"report needs {', '.join(missing)}: pip install 'sktransfer[report]'.")


def _title(subject: Subject) -> str:
    backbone = subject.backbone
    return subject.name if backbone is None else f"{subject.name} on {backbone.reference.name}"


def _facts(found: Material) -> list[tuple[str, str]]:
    """The figures at the top of the page."""
    score = accuracy(found)
    n_wrong = int((~found.right).sum())
    return [
        (f"{score.value:.3f}", "accuracy"),
        (f"{score.low:.3f} to {score.high:.3f}", "95 % interval of the accuracy"),
        (f"{score.baseline:.3f}", f"accuracy of always predicting {usual_label(found)}"),
        (f"{n_wrong:,} of {len(found.test):,}", "wrong predictions"),
        (f"{len(found.labels):,}", "labels" if found.multilabel else "classes"),
    ]
