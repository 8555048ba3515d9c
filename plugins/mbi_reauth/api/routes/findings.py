"""The last step of a check."""

from __future__ import annotations

from fastapi import APIRouter

from mbi_reauth.api.datamodels import FindingReceipt, FindingReport
from mbi_reauth.api.dependencies import ApiKey, Outside
from mbi_reauth.api.services import findings

router = APIRouter(prefix="/api/findings", dependencies=[ApiKey])


@router.post("")
def report(finding_report: FindingReport, outside: Outside) -> FindingReceipt:
    """Take a finding, and the run that it blocked."""
    return findings.report(finding_report, outside)
