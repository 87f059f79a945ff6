"""certificate.py: which names a certificate stands for, and which it only seems to."""

from typing import Any

import pytest

from fastrelay.delivery.certificate import matched, mismatch, presented


@pytest.mark.parametrize(
    ("bears", "wanted", "found"),
    [
        (["mx.example"], ["mx.example"], "mx.example"),
        (["a.example", "mx.example"], ["mx.example"], "mx.example"),
        (["mx.example"], ["a.example", "mx.example"], "mx.example"),
        (["b.example", "a.example"], ["a.example", "b.example"], "a.example"),
        (["mx.example"], ["example"], ""),
        (["example"], ["mx.example"], ""),
        (["xmx.example"], ["mx.example"], ""),
        ([], ["mx.example"], ""),
        (["mx.example"], [], ""),
        (["*.mail.example"], ["a.mail.example"], "a.mail.example"),
        (["*.mail.example"], ["mail.example"], ""),
        (["*.mail.example"], ["a.b.mail.example"], ""),
        (["*.mail.example"], [".mail.example"], ".mail.example"),
        (["*.mail.example"], ["xmail.example"], ""),
        (["*.example"], ["mx.example"], ""),  # a whole top-level domain
        (["*"], ["mx"], ""),
        (["*."], ["mx"], ""),
        (["m*.mail.example"], ["mx.mail.example"], ""),
        (["mx.*.example"], ["mx.a.example"], ""),
        (["*.*.example"], ["mx.a.example"], ""),
        (["*.*.example"], [".example"], ""),
        (["*.*.example"], ["*.a.example"], ""),
        (["mx.mail.example"], [".mail.example"], ".mail.example"),
        (["a.b.mail.example"], [".mail.example"], ".mail.example"),
        (["mail.example"], [".mail.example"], ""),
        (["xmail.example"], [".mail.example"], ""),
    ],
)
def test_matched(bears: list[str], wanted: list[str], found: str) -> None:
    assert matched(bears, wanted) == found


def test_presented_are_the_dns_names_alone() -> None:
    certificate: dict[str, Any] = {
        "subject": ((("commonName", "cn.example"),),),
        "subjectAltName": (
            ("DNS", "MX.Example."),
            ("IP Address", "192.0.2.1"),
            ("email", "a@example"),
            ("DNS", "a.example\x00.evil.example"),
            ("DNS", "*.b.example"),
            ("DNS", ""),
        ),
    }
    assert presented(certificate) == ("mx.example", "*.b.example")
    assert presented({}) == presented(None) == presented({"subject": certificate["subject"]}) == ()


def test_mismatch_in_words() -> None:
    assert mismatch("mx.example", ["a.example"], ["mx.example", ".b.example"]) == (
        "the certificate of mx.example is for a.example, not for mx.example or .b.example"
    )
    assert "is for no host name, not for" in mismatch("mx.example", [], ["mx.example"])
    assert "is for n0, n1, n2, n3, n4 and 2 more, not" in mismatch("x", [f"n{n}" for n in range(7)], ["x"])
