from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.subtitles.text_encoding import Decoded, decoded
from warehouse.errors import Untreatable

ENGLISH = "It’s “fine”…\nand café, naïve as it is.\n"
LINES = {
    "de": "Das weiß ich nicht, müssen wir gehen? Natürlich!",
    "pl": "Wszyscy myślą, że jesteś już bezpieczny. Zobaczymy później.",
    "ru": "Слева мы видим, что здесь не безопасно. Ты не ранен?",
    "el": "Δεν ξέρω τι να σου πω. Πάμε σπίτι τώρα.",
    "tr": "Bunu yapmak istediğine emin misin? Şimdi gidiyoruz, çabuk ol.",
    "he": "אני לא יודע מה להגיד לך. בוא נלך הביתה.",
    "ar": "لا أعرف ماذا أقول لك. هيا نذهب إلى البيت.",
    "zh": "我不知道該對你說什麼。我們回家吧。他只能徒手抓住子彈。",
    "ja": "何を言えばいいのかわかりません。家に帰りましょう。",
    "ko": "무슨 말을 해야 할지 모르겠어요. 집에 갑시다.",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_give_the_same_text(encoding: str) -> None:
    assert decoded(ENGLISH.encode(encoding)).text == decoded(ENGLISH.encode(encoding), "en").text == ENGLISH
    assert not decoded(ENGLISH.encode(encoding)).is_guess


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_wide_text_without_a_mark(encoding: str) -> None:
    text = f"1\n00:00:01,000 --> 00:00:02,000\n{LINES['ru']}\n"
    assert decoded(text.encode(encoding)) == Decoded(text, encoding, is_guess=True)


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])))
def test_utf8_is_utf8(text: str) -> None:
    assert decoded(text.encode()).text == text


@pytest.mark.parametrize(
    ("language", "page"),
    [
        ("de", "cp1252"), ("pl", "cp1250"), ("ru", "cp1251"), ("ru", "koi8_r"), ("el", "cp1253"), ("tr", "cp1254"),
        ("he", "cp1255"), ("ar", "cp1256"), ("zh", "big5"), ("zh", "gb18030"), ("ja", "cp932"), ("ko", "cp949"),
    ],
)  # fmt: skip
def test_the_page_of_a_language_that_is_stated(language: str, page: str) -> None:
    assert decoded(LINES[language].encode(page), language) == Decoded(LINES[language], page)


@pytest.mark.parametrize(("language", "page"), [("pl", "cp1250"), ("ru", "cp1251"), ("ru", "koi8_r"), ("zh", "big5")])
def test_a_page_that_nothing_states(language: str, page: str) -> None:
    assert decoded(LINES[language].encode(page)) == Decoded(LINES[language], page, is_guess=True)


def test_a_page_that_contradicts_the_stated_language() -> None:
    assert decoded(LINES["ru"].encode("cp1251"), "en") == Decoded(LINES["ru"], "cp1251", is_guess=True)


def test_a_real_file_in_gb2312(real: Path) -> None:
    raw = (real / "subtitles" / "gb2312.srt").read_bytes()
    assert decoded(raw) == Decoded(raw.decode("gb2312"), "gb18030", is_guess=True)
    assert decoded(raw, "zh") == Decoded(raw.decode("gb2312"), "gb18030")


def test_bytes_of_no_encoding() -> None:
    with pytest.raises(Untreatable, match=r"neither UTF-8, UTF-16 nor in a code page that can be told: save them as"):
        decoded(bytes(range(128, 256)))


def test_pages_that_fit_equally_well_are_not_chosen_between() -> None:
    with pytest.raises(Untreatable, match=r"may be in cp932 or cp949: save them as UTF-8, or put the language into"):
        decoded(LINES["ja"].encode("cp932"))


@pytest.mark.parametrize("language", ["", "en", "de"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf8_with_a_broken_byte_is_no_code_page(language: str, mark: bytes) -> None:
    raw = mark + "We didn’t see him there yesterday, did we?\n".encode() * 20 + b"Voil\xe0, my friend.\n"
    with pytest.raises(Untreatable, match=r"are UTF-8 with 1 broken letter, the first at byte \d+: save them as UTF-8"):
        decoded(raw, language)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_broken_utf16_is_told(encoding: str) -> None:
    raw = ("1\n00:00:01,000 --> 00:00:02,000\nWell, no.\n" * 3).encode(encoding)
    lone = "\ud83d".encode(encoding if encoding != "utf-16" else "utf-16-le", "surrogatepass")
    for broken, n_letters in ((raw[:-1], "1 broken letter"), (raw[:20] + lone + raw[20:-1], "2 broken letters")):
        problem = rf"are UTF-16 with {n_letters}, the first at byte \d+: save them as UTF-8"
        with pytest.raises(Untreatable, match=problem):
            decoded(broken)
