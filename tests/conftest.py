"""What holds for all tests: they leave nothing behind; on CI a skipped test is a failure, for CI has everything."""

import os

import pytest

from . import census

ON_CI = bool(os.environ.get("CI"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if ON_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped on CI: {report.longrepr}"
    return report


def pytest_configure(config):
    census.mark()
    if not hasattr(config, "workerinput"):
        config.cgroups_before = census.cgroups()


def pytest_sessionfinish(session):
    """Empty cgroups show no owner: the whole session answers for them."""
    if hasattr(session.config, "cgroups_before"):
        left = census.cgroups() - session.config.cgroups_before
        if left:
            print("\ncgroups left behind:", *sorted(left), sep="\n  ")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="module", autouse=True)
def leak_census(tmp_path_factory):
    """Fails a module after which more is on the machine than before: processes, mounts, cgroups, descriptors, files."""
    base = str(tmp_path_factory.getbasetemp())
    before = census.take(base)
    yield
    left = census.left(before, base)
    assert not left, "left behind:\n" + "\n".join(left)
