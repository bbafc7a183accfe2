"""The stages of a Dockerfile: which there are, which the target needs, and what each starts from."""

from __future__ import annotations

from sampan.core.detect import Clues, detect
from sampan.core.errors import Invalid, NotFound
from sampan.core.record import Record
from sampan.core.spec.image import ANNOTATION_COMPAT, ContainerConfig, ImageConfig
from sampan.core.units import rfc3339
from sampan.image.build.dockerfile import Dockerfile, Instruction, located
from sampan.image.build.options import Options, config_for, created_at, finish
from sampan.image.build.stage import PREDEFINED, Stage
from sampan.image.build.variables import check_name, expand
from sampan.image.convert import COMPAT, container_config, convert, flat_layer
from sampan.image.formats import CONTAINER_FORMATS, write_container
from sampan.image.images import Image, load_image
from sampan.image.keeping import keep
from sampan.image.layerwriter import read_tree
from sampan.image.platforms import host_platform, parse_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.core.spec.image import Platform
    from sampan.image.build.context import Context, Source
    from sampan.image.layers import RootfsLayer
    from sampan.image.leases import Lease
    from sampan.image.store import ContentStore

    Resolve = Callable[[str, Platform | None], Image]

SCRATCH = "scratch"


class Plan(Record):
    """One FROM, the stage's name (or nothing), and the instructions that follow."""

    start: Instruction
    name: str
    steps: list[Instruction]


class Build:
    """One run over a parsed Dockerfile: the stages that the target needs, each once."""

    def __init__(
        self,
        store: ContentStore,
        lease: Lease,
        context: Context,
        parsed: Dockerfile,
        options: Options,
        resolve: Resolve,
        warn: Callable[[str], None],
    ) -> None:
        self.store = store
        self.lease = lease
        self.context = context
        self.path = parsed.path
        self.escape = parsed.escape
        self.options = options
        self.resolve = resolve
        self.warn = warn
        self.created = created_at(options)
        self.platform_args = _platform_args(options.platform or host_platform())
        self.global_args: dict[str, str] = {}
        self.used_args: set[str] = set()
        self.plans = self._plan(parsed.instructions)
        self.done: dict[int, Stage] = {}
        self.sources: dict[str, Source] = {}

    def run(self) -> Image:
        """Build the target, write it, name it."""
        stage = self._stage(self._target())
        unused = sorted(set(self.options.build_args) - self.used_args - set(PREDEFINED))
        if unused:
            self.warn(f"no ARG in the Dockerfile took these build arguments: {', '.join(unused)}")
        stage.container.labels.update(self.options.labels)
        stage.config.created = rfc3339(self.created)
        annotations = {**_compat(stage), **self.options.annotations}
        docker = self.options.format == "docker"
        done = write_container(self.store, stage.layers, stage.config, annotations, docker=docker)
        if self.options.format not in CONTAINER_FORMATS:
            done = convert(self.store, load_image(self.store, done, "the image"), self.options.format)
        return finish(self.store, self.lease, done, self.options)

    def _plan(self, instructions: list[Instruction]) -> list[Plan]:
        plans: list[Plan] = []
        for step in instructions:
            with located(self.path, step.line):
                if step.name == "FROM":
                    plans.append(Plan(step, _stage_name(step), []))
                elif plans:
                    plans[-1].steps.append(step)
                elif step.name == "ARG":
                    self._global_arg(step)
                else:
                    raise Invalid(f"{step.name} stands before FROM", fix="begin with FROM")
        if not plans:
            raise Invalid(f"{self.path} has no FROM", fix="begin it with FROM scratch or FROM an image")
        return plans

    def _global_arg(self, step: Instruction) -> None:
        for word in step.words:
            name, equals, default = word.partition("=")
            check_name(name)
            self.used_args.add(name)
            if name in self.options.build_args:
                self.global_args[name] = self.options.build_args[name]
            elif equals:
                self.global_args[name] = expand(default, self._from_values(), self.escape)

    def _from_values(self) -> dict[str, str]:
        return {**self.platform_args, **self.global_args}

    def _target(self) -> int:
        wanted = self.options.target.lower()
        if not wanted:
            return len(self.plans) - 1
        found = self._find(wanted, len(self.plans))
        if found is None:
            names = ", ".join(p.name for p in self.plans if p.name) or "none has a name"
            raise NotFound(f"{self.path} has no stage {self.options.target!r}", fix=f"stages: {names}")
        return found

    def _find(self, name: str, before: int) -> int | None:
        """The last stage with this name or number among the first `before`."""
        for number in reversed(range(before)):
            if self.plans[number].name == name.lower() or str(number) == name:
                return number
        return None

    def _stage(self, number: int) -> Stage:
        if number not in self.done:
            plan = self.plans[number]
            with located(self.path, plan.start.line):
                stage = self._begin(plan, number)
            for step in plan.steps:
                with located(self.path, step.line):
                    if step.name == "ARG":
                        self.used_args.update(word.partition("=")[0] for word in step.words)
                    stage.apply(step)
            self.done[number] = stage
        return self.done[number]

    def _begin(self, plan: Plan, number: int) -> Stage:
        name = expand(plan.start.words[0], self._from_values(), self.escape)
        if not name:
            raise Invalid(f"FROM {plan.start.words[0]} names nothing", fix="give the ARG a value")
        flag = expand(plan.start.flags.get("platform", ""), self._from_values(), self.escape)
        platform = parse_platform(flag) if flag else self.options.platform
        layers, config = self._base(name, number, platform)
        given = {k: v for k, v in self.options.build_args.items() if k in PREDEFINED}
        return Stage(
            self.store,
            layers,
            config,
            created=self.created,
            epoch=self.options.epoch,
            escape=self.escape,
            arguments={**self.platform_args, **self.global_args, **self.options.build_args},
            predefined=given,
            context=self.context,
            copy_from=lambda text: self._source(text, number),
            keep=lambda digest: keep(self.store, self.lease, [digest]),
        )

    def _base(
        self, name: str, number: int, platform: Platform | None
    ) -> tuple[list[RootfsLayer], ImageConfig]:
        """Layers and configuration that a stage starts with."""
        if name.lower() == SCRATCH:
            options = self.options.replace(platform=platform)
            return [], config_for(options, rfc3339(self.created), ContainerConfig())
        earlier = self._find(name, number)
        if earlier is not None and not name.isdigit():
            stage = self._stage(earlier)
            return stage.layers, stage.config
        image = self._image(name, platform)
        layers = image.rootfs_layers
        if image.files:
            layers = [flat_layer(self.store, image)]
            keep(self.store, self.lease, [layers[0].descriptor.digest])
        return layers, container_config(image)

    def _image(self, name: str, platform: Platform | None) -> Image:
        image = self.resolve(name, platform)
        digests = [image.manifest.config.digest, *(d.digest for d in image.manifest.layers)]
        keep(self.store, self.lease, digests)
        return image

    def _source(self, text: str, before: int) -> Source:
        """What `--from` names: an earlier stage by name or number, else an image."""
        earlier = self._find(text, before)
        if earlier is not None:
            return self._stage(earlier).tree
        if text.isdigit():
            raise NotFound(f"--from={text} is not an earlier stage")
        if text not in self.sources:
            self.sources[text] = read_tree(self.store, self._image(text, self.options.platform))
        return self.sources[text]


def _stage_name(step: Instruction) -> str:
    words = step.words
    if len(words) == 1:
        return ""
    if len(words) != 3 or words[1].upper() != "AS":
        raise Invalid("FROM takes an image and, perhaps, AS and a name", fix="write FROM IMAGE [AS NAME]")
    name = words[2].lower()
    if not name[0].isalpha() or not name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
        raise Invalid(f"{words[2][:40]!r} is not a stage's name", fix="begin it with a letter")
    return name


def _platform_args(platform: Platform) -> dict[str, str]:
    """The arguments that Docker sets by itself."""
    host = host_platform()
    sides = {"TARGET": platform, "BUILD": host}
    return {
        f"{side}{key}": value
        for side, p in sides.items()
        for key, value in (
            ("PLATFORM", str(p)),
            ("OS", p.os),
            ("ARCH", p.architecture),
            ("VARIANT", p.variant),
        )
    }


def _compat(stage: Stage) -> dict[str, str]:
    """The annotation by which other runtimes know a Wasm image, where the command names a Wasm file."""
    command = stage.container.entrypoint + stage.container.cmd
    if not command:
        return {}
    path = command[0].partition("#")[0]
    for folder in ("", stage.container.working_dir):
        entry = stage.tree.lookup(stage.tree.resolve(f"{folder}/{path}"))
        if entry is not None and entry.kind == "file":
            with entry.content() as stream:
                head = stream.read(64)
            if detect(Clues(head=head, name=path)).kind in ("module", "component"):
                return {ANNOTATION_COMPAT: COMPAT}
    return {}
