"""Reading outbound messages: one by its id, or all of a line. Creating them works in Truora's dashboard only."""

from urllib.parse import quote

from domain.errors import ProviderRejected, Scope
from providers.http import ProviderHttp, Request
from providers.truora.schemas import Outbound
from providers.truora.sending import outbound_id_mistakes
from providers.wire import as_object


def line_mistakes(line: str) -> list[str]:
    """What is wrong with a line's digits: country code first, no plus, no blanks."""
    if line.isascii() and line.isdigit() and 7 <= len(line) <= 15 and not line.startswith("0"):
        return []
    return ["line: must be the sending number with country code as digits, without plus"]


class TruoraOutbounds:
    """The outbounds of one account. Raises ``ProviderUnavailable`` and ``ProviderRejected``."""

    def __init__(self, account: str, http: ProviderHttp) -> None:
        self._account, self._http = account, http

    async def one(self, outbound_id: str) -> Outbound:
        """One outbound. One that does not exist is refused with scope ``template``."""
        self._refuse_if(outbound_id_mistakes(outbound_id), "read an outbound")
        answer = await self._http.call(Request("read an outbound", "GET", f"/outbounds/{quote(outbound_id, safe='')}"))
        found = Outbound.model_validate(as_object(answer.json()))
        if found.outbound_id != outbound_id:
            raise answer.unusable("with another outbound_id than was asked for, or none")
        return found

    async def of_line(self, line: str) -> tuple[Outbound, ...]:
        """Every outbound of a line, by its digits; the list is complete (A-T8). Elements without id are left out."""
        self._refuse_if(line_mistakes(line), "list outbounds")
        answer = await self._http.call(Request("list outbounds", "GET", "/outbounds", query=(("line", line),)))
        listed = answer.json()
        if not isinstance(listed, list):
            raise answer.unusable("with something else than a bare array")
        found = (Outbound.model_validate(as_object(item)) for item in listed)
        return tuple(outbound for outbound in found if outbound.outbound_id)

    async def close(self) -> None:
        """Give back connections."""
        await self._http.close()

    def _refuse_if(self, mistakes: list[str], what: str) -> None:
        if mistakes:
            text = f"account {self._account}: {what}: not asked: {'; '.join(mistakes)}"
            raise ProviderRejected(text, scope=Scope.MESSAGE, code="incomplete-request")
