"""One stage of a build: the configuration and the root filesystem that its instructions change, one by one."""

from __future__ import annotations

from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.core.signals import number_of
from sampan.core.spec.image import ContainerConfig, History, ImageConfig
from sampan.core.units import rfc3339
from sampan.image.build.copying import Copy
from sampan.image.build.variables import check_name, expand, split_words
from sampan.image.configs import safe_path
from sampan.image.entries import Entry, Tree
from sampan.image.layerwriter import add_layer, write_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sampan.image.build.context import Source
    from sampan.image.build.dockerfile import Instruction
    from sampan.image.layers import RootfsLayer
    from sampan.image.store import ContentStore

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = (*_PROXIES, *(p.lower() for p in _PROXIES))


class Stage:
    """What FROM began; `apply` carries out the instructions that follow it.

    Args:
        layers: those of the base. `config`: the base's, which is not changed.
        created: nanoseconds since 1970, for the history. `epoch`: SOURCE_DATE_EPOCH, or None.
        arguments: what ARG finds: build arguments, then those before the first FROM, then the platform's.
        predefined: arguments that need no ARG (HTTP_PROXY and its like), where given.
        copy_from: gives the files that `--from` names.
    """

    def __init__(
        self,
        store: ContentStore,
        layers: list[RootfsLayer],
        config: ImageConfig,
        *,
        created: int,
        epoch: int | None,
        escape: str,
        arguments: Mapping[str, str],
        predefined: Mapping[str, str],
        context: Source,
        copy_from: Callable[[str], Source],
        keep: Callable[[str], None],
    ) -> None:
        self.store = store
        self.layers = list(layers)
        self.config = ImageConfig.from_json(config.to_json())
        self.container = self.config.config or ContainerConfig()
        self.config.config = self.container
        self.created = created
        self.epoch = epoch
        self.escape = escape
        self.arguments = arguments
        self.known = dict(predefined)  # with the ARGs declared so far
        self._context = context
        self._copy_from = copy_from
        self._keep = keep
        self._tree: Tree | None = None
        self._own_command = False
        self._shell: list[str] = []

    @property
    def tree(self) -> Tree:
        """The root filesystem so far; the base's layers are read when it is first asked for."""
        if self._tree is None:
            self._tree = Tree()
            for layer in self.layers:
                add_layer(self.store, layer, self._tree)
        return self._tree

    def apply(self, instruction: Instruction) -> None:
        """Carry out one instruction.

        Raises:
            SampanError: what is wrong with it, without the line.
        """
        before = len(self.layers)
        steps = {
            "ADD": self._copy,
            "ARG": self._arg,
            "CMD": self._cmd,
            "COPY": self._copy,
            "ENTRYPOINT": self._entrypoint,
            "ENV": self._env,
            "EXPOSE": self._expose,
            "LABEL": self._label,
            "SHELL": self._set_shell,
            "STOPSIGNAL": self._stop_signal,
            "USER": self._user,
            "VOLUME": self._volume,
            "WORKDIR": self._workdir,
        }
        steps[instruction.name](instruction)
        self._remember(f"{instruction.name} {instruction.text}", len(self.layers) == before)

    @property
    def environment(self) -> dict[str, str]:
        """What variables stand for: ENV wins over ARG."""
        return {**self.known, **dict(v.split("=", 1) for v in self.container.env if "=" in v)}

    def _expand(self, text: str) -> str:
        return expand(text, self.environment, self.escape)

    def _remember(self, text: str, empty: bool) -> None:
        entry = History(rfc3339(self.created), text[:1000], "", "sampan build", empty)
        self.config.history.append(entry)

    def _add_layer(self, entries: dict[str, Entry]) -> None:
        if entries:
            layer = write_layer(self.store, entries.values(), self.epoch)
            self._keep(layer.descriptor.digest)
            self.layers.append(layer)

    def _copy(self, instruction: Instruction) -> None:
        words = [w if w.startswith("<<") else self._expand(w) for w in instruction.words]
        if instruction.is_json:
            words = [expand(w, self.environment, self.escape, keep_quotes=True) for w in instruction.words]
        if len(words) < 2:
            raise Invalid(f"{instruction.name} needs a source and a destination")
        flags = {k: self._expand(v) for k, v in instruction.flags.items()}
        source = self._copy_from(flags["from"]) if "from" in flags else self._context
        documents = [
            d.replace(body=expand(d.body, self.environment, self.escape, keep_quotes=True)) if d.expand else d
            for d in instruction.documents
        ]
        now = self.created // 10**9
        copy = Copy(self.tree, self._folder, words[-1], flags.get("chmod", ""), flags.get("chown", ""), now)
        copy.add(source, words[:-1], documents, unpack=instruction.name == "ADD")
        self._add_layer(copy.layer)

    @property
    def _folder(self) -> str:
        return self.container.working_dir or "/"

    def _workdir(self, instruction: Instruction) -> None:
        path = self._expand(instruction.text)
        if not path:
            raise Invalid("WORKDIR needs a folder")
        joined = path if path.startswith("/") else f"{self._folder}/{path}"
        self.container.working_dir = safe_path(joined, "WORKDIR")
        copy = Copy(self.tree, "/", self.container.working_dir, now=self.created // 10**9)
        copy.folder(copy.path)
        self._add_layer(copy.layer)

    def _arg(self, instruction: Instruction) -> None:
        for word in instruction.words:
            name, equals, default = word.partition("=")
            check_name(name)
            if name in self.arguments:
                self.known[name] = self.arguments[name]
            elif equals:
                self.known[name] = self._expand(default)

    def _env(self, instruction: Instruction) -> None:
        for name, value in self._pairs(instruction):
            check_name(name)
            kept = [v for v in self.container.env if v.split("=", 1)[0] != name]
            at = next((i for i, v in enumerate(self.container.env) if v.split("=", 1)[0] == name), len(kept))
            self.container.env = [*kept[:at], f"{name}={value}", *kept[at:]]

    def _label(self, instruction: Instruction) -> None:
        self.container.labels.update(self._pairs(instruction))

    def _pairs(self, instruction: Instruction) -> list[tuple[str, str]]:
        """`a=b c="d e"`, or the old `a b c`; values of one line do not see each other."""
        words = split_words(instruction.text, self.escape)
        if "=" not in words[0]:
            name, *rest = instruction.text.split(maxsplit=1)
            if not rest:
                raise Invalid(f"{instruction.name} {name[:40]} has no value", fix="write NAME=VALUE")
            return [(self._expand(name), self._expand(rest[0]))]
        pairs: list[tuple[str, str]] = []
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or not name:
                raise Invalid(f"{word[:60]!r} is not NAME=VALUE")
            pairs.append((self._expand(name), self._expand(value)))
        return pairs

    def _user(self, instruction: Instruction) -> None:
        self.container.user = self._expand(instruction.text)
        if self.container.user.count(":") > 1:
            raise Invalid(f"USER {self.container.user[:60]!r} is not NAME, UID, or either with :GROUP")

    def _expose(self, instruction: Instruction) -> None:
        for word in self._expand(instruction.text).split():
            ports, _, protocol = word.partition("/")
            low, dash, high = ports.partition("-")
            numbers = [low, high] if dash else [low, low]
            if not all(n.isascii() and n.isdigit() and 0 < int(n[:6]) < 65536 for n in numbers) or (
                protocol.lower() not in ("", "tcp", "udp", "sctp")
            ):
                raise Invalid(f"EXPOSE {word[:40]!r} is not a port", fix="write it like 8080 or 53/udp")
            for port in range(int(numbers[0]), int(numbers[1]) + 1):
                self.container.exposed_ports[f"{port}/{protocol.lower() or 'tcp'}"] = {}

    def _volume(self, instruction: Instruction) -> None:
        for word in instruction.words:
            path = self._expand(word)
            if not path:
                raise Invalid("VOLUME needs a folder")
            self.container.volumes[safe_path(path, "VOLUME")] = {}

    def _stop_signal(self, instruction: Instruction) -> None:
        signal = self._expand(instruction.text)
        number_of(signal)
        self.container.stop_signal = signal

    def _set_shell(self, instruction: Instruction) -> None:
        if not instruction.is_json or not instruction.words:
            raise Invalid("SHELL needs the JSON form", fix='write SHELL ["/bin/sh", "-c"]')
        self._shell = list(instruction.words)
        self.container.unknown["Shell"] = list(instruction.words)

    def _cmd(self, instruction: Instruction) -> None:
        self.container.cmd = self._command(instruction)
        self._own_command = True

    def _entrypoint(self, instruction: Instruction) -> None:
        self.container.entrypoint = self._command(instruction)
        if not self._own_command:
            self.container.cmd = []

    def _command(self, instruction: Instruction) -> list[str]:
        """The words of the JSON form; the text form needs a shell in the image, as it does in Docker."""
        if instruction.is_json:
            return list(instruction.words)
        shell = self._shell or ["/bin/sh", "-c"]
        program = self.tree.lookup(self.tree.resolve(shell[0]))
        if program is None or program.kind != "file":
            from json import dumps

            try:
                words = [self._expand(w) for w in instruction.words]
            except SampanError:
                words = instruction.words
            raise Unimplemented(
                f"{instruction.name} in this form runs {shell[0]}, which this image does not have",
                fix=f"write {instruction.name} {dumps(words, ensure_ascii=False)}",
            )
        return [*shell, instruction.text]
