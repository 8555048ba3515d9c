# `make demo` and `make test` need Python 3.10 to 3.13 and nothing else.
PYTHON ?= $(shell for python in python3.12 python3.13 python3.11 python3.10 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
# The tests never see the configuration of another Airflow on this machine.
export AIRFLOW_HOME := $(CURDIR)/.airflow/test

.PHONY: demo test e2e browser lint format lock clean benchmark translations

demo: $(VENV)/installed
	env -u AIRFLOW_HOME $(RUN) -m demo $(ARGS)

test: $(VENV)/installed
	$(RUN) -m pytest $(ARGS)

browser: $(VENV)/installed
	$(RUN) -m pytest tests/browser --timeout 900 $(ARGS)

e2e: $(VENV)/installed
	$(RUN) -m pytest tests/e2e --timeout 900 $(ARGS)

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/installed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

translations: $(VENV)/installed
	$(RUN) -m mbi_reauth.notifications.translate

lock: $(VENV)/installed
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.10 --no-header \
		--output-file requirements.txt requirements.in
	$(RUN) -m uv pip compile --quiet --universal --python-version 3.10 --no-header \
		--output-file requirements-mysql.txt requirements-mysql.in

clean:
	rm -rf $(VENV) .airflow .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(VENV)/installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "mbi_reauth needs Python 3.10 to 3.13: make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
