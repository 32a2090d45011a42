"""A mail server for tests: takes mails over SMTP and writes each to a file.

Arguments: a folder. It holds `behaviour` (read anew for each mail), and for TLS `cert.pem` and `key.pem`. What it does:
  take            takes the mail
  busy            451, try later
  reject          550, never
  die             hangs up in the middle of the mail
  sleep           takes a minute for it
It prints the port that it listens on: plain, and with STARTTLS; then with TLS from the first byte.
"""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

folder = sys.argv[1]
arrived = 0


def behaviour():
    try:
        with open(os.path.join(folder, "behaviour")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "take"


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if behaviour() == "reject":
            return "550 5.1.1 nobody is called that here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global arrived
        doing = behaviour()
        if doing == "busy":
            return "451 4.3.0 come back later"
        if doing == "die":
            server.transport.abort()
            return "421 gone"
        if doing == "sleep":
            await asyncio.sleep(60)
        arrived += 1
        name = os.path.join(folder, f"mail-{arrived:04}")
        secured = session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None
        with open(name + ".new", "wb") as file:
            file.write(f"X-Test-To: {','.join(envelope.rcpt_tos)}\r\nX-Test-Secured: {secured}\r\n".encode())
            file.write(f"X-Test-User: {getattr(session, 'auth_data', None) and 'ada' or 'none'}\r\n".encode())
            file.write(envelope.content)
        os.rename(name + ".new", name)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ada", b"only-for-tests")
    return AuthResult(success=good, handled=False, auth_data="ada")


async def main():
    loop = asyncio.get_running_loop()
    certificate = os.path.join(folder, "cert.pem")
    context = None
    if os.path.exists(certificate):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, os.path.join(folder, "key.pem"))

    def plain():
        return SMTP(
            Handler(),
            hostname="mail.test",
            enable_SMTPUTF8=True,
            tls_context=context,
            authenticator=authenticate,
            auth_require_tls=False,
        )

    servers = [await loop.create_server(plain, "127.0.0.1", 0)]
    if context:
        wrapped = lambda: SMTP(Handler(), hostname="mail.test", authenticator=authenticate, auth_require_tls=False)
        servers.append(await loop.create_server(wrapped, "127.0.0.1", 0, ssl=context))
    print(*[server.sockets[0].getsockname()[1] for server in servers], flush=True)
    # Ends with the test that started it.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
