"""Which column of a table is the text and which the label.

A column that was asked for counts first, then the usual names, then what the columns hold: a text
is long and mostly different from row to row, a label is one of few values, and neither an
identifier nor a number is a text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rnnctl.data.labels import NoLabelsError
from rnnctl.errors import DataError, UsageError
from rnnctl.wording import first_few

FIRST_WORD: Final = "first-word"  # as a label field: the first word of each line, whatever it is


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns of text and label; label None: none, or none is wanted.

    by: a column whose values documents are to be sorted by, None for none. separator: what stands
    between the labels of a text, None where it has one. unlabelled: whether records may lack a
    label.
    """

    text: str
    label: str | None = None
    by: str | None = None
    separator: str | None = None
    unlabelled: bool = False


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# By language: English, German, French, Spanish, Portuguese, Italian, Dutch, Polish, Swedish, Czech,
# Russian, Ukrainian, Turkish, Chinese, Japanese, Korean, Arabic, Hindi. Earlier names count first.
_TEXT_NAMES = _words("""
text sentence content review reviewtext reviewbody document body comment commenttext tweet message
paragraph passage utterance post joke poem lyrics story verse sms email transcript article
abstract texte phrase contenu avis commentaire critique poème rezension kommentar nachricht inhalt
satz beitrag artikel dokument gedicht texto frase oración reseña comentario mensaje contenido
opinión poema conteúdo comentário mensagem resenha testo recensione commento messaggio contenuto
tekst zin recensie bericht inhoud reactie zdanie recenzja komentarz treść opinia mening recension
věta recenze komentář текст предложение отзыв комментарий сообщение речення відгук коментар
повідомлення metin cümle yorum mesaj içerik
文本 内容 评论 句子 正文 文章 文 本文
テキスト レビュー コメント 문장 텍스트 리뷰 내용 본문
댓글 نص النص تعليق مراجعة पाठ वाक्य समीक्षा टिप्पणी question description
""")
# The text only where no column holds longer texts.
_SHORT_TEXT_NAMES = _words("""
headline title subject summary name titel titre título titolo заголовок
""")
_LABEL_NAMES = _words("""
label labels sentiment class category target polarity labeltext labelcoarse coarselabel rating
stars starrating score emotion intent topic language lang tag genre y étiquette classe catégorie
note polarité étoiles klasse kategorie bewertung stimmung sterne wertung etiqueta clase categoría
sentimiento polaridad puntuación estrellas rótulo categoria sentimento polaridade nota etichetta
sentimento voto stelle categorie beoordeling sterren etykieta klasa kategoria sentyment ocena
etikett kategori betyg třída hodnocení метка класс категория тональность оценка рейтинг мітка клас
категорія тональність оцінка etiket sınıf duygu puan
标签 类别 情感 分类 评分
ラベル カテゴリ 感情 評価 分類 레이블 라벨 분류 감정
평점 تصنيف فئة المشاعر लेबल श्रेणी भावना
""")
_LONGER = 1.5  # a text column's mean length, in that of the next longest one


def pick_columns(
    columns: Sequence[str],
    records: Iterable[Mapping[str, Any]],
    text_field: str | None,
    label_field: str | None,
    name: str,
    *,
    labelled: bool,
) -> Columns:
    """The columns of text and label; no label if none is evident and none is needed.

    records: a sample of the table's rows. The fields are names, in any case, or numbers from 1.

    Raises: UsageError for a chosen column that is not there, or one that is chosen for both,
    DataError if none is evident, or two columns have its name.
    """
    chosen_text = _chosen(columns, text_field, "--text-field", name)
    chosen_label = _chosen(columns, label_field, "--label-field", name)
    if chosen_label is not None and chosen_text == chosen_label:
        raise UsageError(
            f"--text-field and --label-field are both {label_field!r:.80}",
            hint="text and label need two different columns",
        )
    about = {column: _Values(column, records) for column in columns}
    others = [about[column] for column in columns if column != chosen_label]
    text = chosen_text or _find_text(others, columns, name)
    label = chosen_label
    if label is None and labelled:
        label = _find_label([about[c] for c in columns if c != text], columns, name)
    for field in (text, label):
        if field is not None and list(columns).count(field) > 1:
            raise DataError(
                f"{name} has {list(columns).count(field)} columns that are called {field!r:.80}",
                hint="give each column its own name, or give the number of the column you mean: "
                "--text-field and --label-field take both",
            )
    return Columns(text, label)


def find_column(columns: Sequence[str], wanted: str) -> str | None:
    """The column of that name, in any case; or the one of that number, from 1."""
    if wanted in columns:
        return wanted
    same = [column for column in columns if _plain(column) == _plain(wanted)]
    if len(same) == 1:
        return same[0]
    if wanted.isdecimal() and 1 <= int(wanted) <= len(columns):
        return columns[int(wanted) - 1]
    return None


def looks_labelled(columns: Sequence[str], records: Iterable[Mapping[str, Any]], text: str) -> bool:
    """Whether a column beside the text is a label by its name and by what it holds."""
    others = [_Values(column, records) for column in columns if column != text]
    return any(_plain(c.name) in _LABEL_NAMES and c.is_label for c in others)


def usual_names(columns: Sequence[str]) -> int:
    """How many cells of a first row are usual names of texts or labels."""
    names = (_TEXT_NAMES, _SHORT_TEXT_NAMES, _LABEL_NAMES)
    return sum(any(_plain(column) in group for group in names) for column in columns)


def names_a_text(columns: Sequence[str]) -> bool:
    """Whether one of the cells of a first row is a usual name of a text."""
    return any(_plain(column) in _TEXT_NAMES for column in columns)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


class _Values:
    """What a sample of a column holds."""

    def __init__(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        self.name = name
        found = [record.get(name) for record in records]
        shown = [value for value in found if value is not None and str(value).strip()]
        words = [value for value in shown if isinstance(value, str)]
        self.count = len(shown)
        self.distinct = len(set(map(str, shown)))
        self.length = sum(map(len, words)) / max(1, len(words))
        # A csv file has its numbers as text, so what is mostly numbers is none.
        numbers = sum(not isinstance(value, str) or is_number(value) for value in shown)
        self.is_text = bool(words) and numbers * 2 < self.count
        self.is_scalar = all(isinstance(value, str | int | float) for value in shown)

    @property
    def is_label(self) -> bool:
        """Few values that recur."""
        return self.is_scalar and self.distinct >= 2 and self.distinct * 2 <= self.count

    @property
    def is_varied(self) -> bool:
        """Mostly different values."""
        return self.distinct * 2 > self.count


def is_number(text: str) -> bool:
    """Whether a cell holds a number and nothing else."""
    try:
        # Half of the world writes 3,5.
        float(text.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def _chosen(columns: Sequence[str], wanted: str | None, option: str, name: str) -> str | None:
    if wanted is None:
        return None
    found = find_column(columns, wanted)
    if found is not None:
        return found
    near = difflib.get_close_matches(wanted, columns, n=1, cutoff=0.5)
    raise UsageError(
        f"{option} {wanted!r:.80}: {name} has no such field",
        hint=f"did you mean {near[0]!r}?" if near else f"it has {_listed(columns)}",
    )


def _find_text(found: Sequence[_Values], columns: Sequence[str], name: str) -> str:
    usual = _usual(found, _TEXT_NAMES)
    if usual is not None:
        return usual
    if len(found) == 1:
        return found[0].name
    texts = [column for column in found if column.is_text]
    varied = [column for column in texts if column.is_varied] or texts
    ranked = sorted(varied, key=lambda column: -column.length)
    if len(ranked) == 1 or (len(ranked) > 1 and ranked[0].length >= _LONGER * ranked[1].length):
        return ranked[0].name
    short = _usual(ranked, _SHORT_TEXT_NAMES)
    if short is not None:
        return short
    if all(column == str(number) for number, column in enumerate(columns, 1)):
        raise DataError(
            f"{name} has {len(columns)} columns, no header that names them, and nothing that tells "
            "which of them is the text",
            hint="add a first line that names the columns, such as text,label, or give their "
            "numbers: --text-field 2 --label-field 1",
        )
    raise DataError(
        f"{name}: which of its fields is the text? "
        + (f"It has {_listed(columns)}" if found else "It has none except the label"),
        hint="give its name or its number: --text-field FIELD",
    )


def _find_label(found: Sequence[_Values], columns: Sequence[str], name: str) -> str:
    if not found:
        raise NoLabelsError(
            f"{name} has texts and no labels, and a classifier needs them",
            hint="add a column `label`, or train a language model with --task lm",
        )
    usual = _usual(found, _LABEL_NAMES)
    if usual is not None:
        return usual
    labels = [column for column in found if column.is_label]
    words = [column for column in labels if column.is_text]
    # Of several columns with few values the one of words is meant: the others count or flag.
    for group in (labels, words):
        if len(group) == 1:
            return group[0].name
    # In a small table the labels of the only other column may not have come twice yet.
    if len(found) == 1 and not labels and not (found[0].is_varied and found[0].count >= 20):
        return found[0].name
    raise DataError(
        f"{name}: which of its fields is the label? It has {_listed(columns)}",
        hint="give its name or its number: --label-field FIELD",
    )


def _usual(found: Sequence[_Values], names: Sequence[str]) -> str | None:
    # Backwards, so that of two columns of one name the first one stays.
    plain = {_plain(column.name): column.name for column in reversed(found)}
    return next((plain[name] for name in names if name in plain), None)


def _listed(columns: Sequence[str]) -> str:
    return first_few([repr(column)[:60] for column in columns], 12)
