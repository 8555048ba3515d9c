"""What the catalogue says to owners, as translators get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mbi_reauth import catalogue
from mbi_reauth.catalogue import PACKAGED
from mbi_reauth.catalogue.wording import sentences
from mbi_reauth.core.verdict import VERDICT_OF, Verdict


def test_every_step_that_an_owner_may_be_given_is_among_them() -> None:
    given = {
        sentence
        for loaded in catalogue.load_all().values()
        for cause, verdict in VERDICT_OF.items()
        for held_by in ("airflow", "mbi")
        for at_tunnel in (False, True)
        for sentence in loaded.model.owner_steps.for_cause(cause, held_by, at_tunnel=at_tunnel)
        if verdict is Verdict.NEEDS_REAUTH
    }
    assert len(given) > 200
    assert given <= set(sentences())


def test_every_field_that_an_owner_may_be_asked_for_is_among_them() -> None:
    asked = {
        word
        for loaded in catalogue.load_all().values()
        for field in loaded.model.owner_fields().values()
        for word in (field.title, field.help)
        if word
    }
    assert {"Restricted key", "API token", "The read-only database user"} < asked
    assert asked <= set(sentences())


def test_each_is_in_the_files_that_it_is_said_to_be_in() -> None:
    for sentence, files in sentences().items():
        assert len(files) == len(set(files)) > 0
        for file in files:
            assert sentence in (PACKAGED / file).read_text("utf-8").replace('\\"', '"')


def test_collecting_them_needs_no_airflow() -> None:
    script = (
        "import sys; from mbi_reauth.catalogue.wording import sentences; sentences(); "
        "sys.exit('airflow' in sys.modules)"
    )
    plugins = Path(catalogue.__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": str(plugins)}, timeout=60)
