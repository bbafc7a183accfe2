"""`sampan login`: checks a credential with a registry and keeps it where Docker keeps it."""

from __future__ import annotations

from sampan.core.commandline import Command, UsageError, setting, switch
from sampan.core.errors import Invalid
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.registries import open_registry, registry_name
    from sampan.image.registry.credentials import Credential

    name = registry_name(args.operands[0] if args.operands else "")
    username, password = _credential(context, args, name)
    with open_registry(context) as registry:
        registry.login(name, Credential(username, password))
    print("Login Succeeded")
    return 0


def _credential(context: Context, args: Arguments, name: str) -> tuple[str, str]:
    from sampan.doors.cli.asking import ask, ask_secret, read_secret

    username = args.value("username")
    if args.on("password-stdin"):
        if args.given("password"):
            raise UsageError("--password and --password-stdin exclude each other", command="login")
        if not username:
            raise UsageError("--password-stdin needs --username", command="login")
        password = read_secret()
    elif args.given("password"):
        context.warn(
            "a password on the command line is seen by everyone on this machine; use --password-stdin"
        )
        password = args.value("password")
    else:
        username = username or ask(f"Username for {name}: ")
        password = ask_secret("Password: ")
    if not username or not password:
        raise Invalid("the user name and the password must not be empty")
    return username, password


COMMAND = Command(
    "login",
    "[OPTIONS] [REGISTRY]",
    listing.SUMMARIES["login"],
    run,
    [
        setting("username", "NAME", "User name", "u"),
        setting("password", "PASSWORD", "Password; --password-stdin is safer", "p"),
        switch("password-stdin", "Read the password from standard input"),
    ],
    most=1,
    examples=["sampan login -u me --password-stdin registry.example:5000 < password.txt"],
)
