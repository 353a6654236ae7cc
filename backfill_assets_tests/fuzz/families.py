"""The families of the fuzz by name."""

from backfill_assets_tests.fuzz.actions import ActionFamily
from backfill_assets_tests.fuzz.answers import AnswerFamily
from backfill_assets_tests.fuzz.certified_tables import CertifiedFamily
from backfill_assets_tests.fuzz.files import FileFamily
from backfill_assets_tests.fuzz.inputs import Family
from backfill_assets_tests.fuzz.locales import LocaleFamily
from backfill_assets_tests.fuzz.options import OptionFamily
from backfill_assets_tests.fuzz.paths import PathFamily
from backfill_assets_tests.fuzz.reads import ReadFamily
from backfill_assets_tests.fuzz.settings import SettingFamily
from backfill_assets_tests.fuzz.tables import TableFamily

_ALL: tuple[Family, ...] = (
    *(AnswerFamily(), TableFamily(), FileFamily(), SettingFamily(), OptionFamily()),
    *(PathFamily(), LocaleFamily(), ActionFamily(), ReadFamily(), CertifiedFamily()),
)
FAMILIES = {family.name: family for family in _ALL}
