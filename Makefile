PYTHON ?= python3
BIN := .venv/bin
PYTEST_PROCESSES ?= 5
TESTS ?= not ci
PAGES := mailer/pages
PYBABEL := $(CURDIR)/$(BIN)/pybabel -q
UPDATE := $(PYBABEL) update -N --ignore-pot-creation-date -w 110 -d translations
# Many tests start programs. Compiled modules spare each of them the compiling, also where the environment forbids it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo run test test-fast test-long lint bench check-mail check-image screenshots translations

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/python examples/demo.py

run: install
	$(BIN)/mailer serve

test: .venv/installed-dev
	$(BIN)/python -m pytest -n $(PYTEST_PROCESSES) -m "$(TESTS)" $(PYTEST_ARGS)

test-fast: .venv/installed-dev
	$(BIN)/python -m pytest -n $(PYTEST_PROCESSES) -m "not slow and not drill and not ci" $(PYTEST_ARGS)

test-long: .venv/installed-dev
	TEST_LONG=1 $(BIN)/python -m pytest -n $(PYTEST_PROCESSES) -m drill --timeout 7200 $(PYTEST_ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.venv/installed-bench: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

bench: .venv/installed-bench
	$(BIN)/python -m bench $(BENCH_ARGS)

check-mail: .venv/installed-bench
	$(BIN)/python -m bench.check_mail

check-image: .venv/installed-dev
	$(BIN)/python -m tests.check_image

screenshots: .venv/installed-dev
	$(BIN)/python -m tests.screenshots

# Finds the texts of the pages that have changed, and compiles what is translated. New ones stay English until then.
# German has all of them, the other languages those of the page for recipients.
translations: .venv/installed-dev
	cd $(PAGES) && $(PYBABEL) extract -F babel.cfg -k lazy_gettext --no-location -o translations/messages.pot . ../mailbox
	cd $(PAGES) && $(PYBABEL) extract -F babel.cfg --no-location -o translations/recipients.pot templates/unsubscribe.html
	cd $(PAGES) && $(UPDATE) -i translations/messages.pot -l de
	cd $(PAGES) && for one in pt_BR fr es; do $(UPDATE) -i translations/recipients.pot -l $$one; done
	cd $(PAGES) && $(PYBABEL) compile -d translations
