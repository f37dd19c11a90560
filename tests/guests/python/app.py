"""Motion modules of AnimateDiff, as a model type in Python.

It also has routes that show what of WASI there is, for the tests.
"""

# Names of hosts are looked up with it, and no module can be loaded later.
import encodings.idna  # noqa: F401
import json
import os
import random
import socket
import sys
import time

import wit_world
from componentize_py_types import Err, Ok
from wit_world.imports import library, log
from wit_world.imports.description import (
    Capabilities,
    Column,
    Descriptor,
    Facet,
    HashPolicy,
    HeaderInterest,
    RootKind,
    SubType,
)
from wit_world.imports.rule_types import Derived, NamePatterns, Placement, QueryFilter, Selection
from wit_world.imports.types import (
    Error_Internal,
    Error_Invalid,
    Error_NotFound,
    Response,
)

# Positions of frames: one tensor of each attention block, of shape [1, frames, channels].
FRAMES = "pos_encoder.pe"


def frames(file):
    if file.header is None:
        return 0
    shapes = [tensor.shape for tensor in file.header.tensors if tensor.name.endswith(FRAMES)]
    return next((shape[1] for shape in shapes if len(shape) == 3), 0)


def derive_one(file):
    known = frames(file)
    return Derived(
        sub_type="motion",
        base_model_hint=None,
        fields=json.dumps({"frames": known}),
        problem="This file has no positions of frames." if file.header and not known else None,
    )


def merge_one(given):
    """What a provider says of the name, unless a person wrote another."""
    try:
        version = json.loads(given.remote_version)
        name = version["model"]["name"]
    except (ValueError, KeyError, TypeError):
        name = None
    fields = {}
    if isinstance(name, str) and name and "model_name" not in given.edited:
        fields["model_name"] = name
    return Ok(json.dumps(fields))


def select_one(given):
    try:
        files = json.loads(given.remote_version)["files"]
        wanted = given.choice.id if given.choice else None
        for place, file in enumerate(files):
            if file.get("id") == wanted or (wanted is None and file.get("type") == "Model"):
                return Ok(Selection(place, "motion"))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return Err(Error_NotFound("This version has no file with weights."))


class WitWorld(wit_world.WitWorld):
    def describe(self):
        return Descriptor(
            id="motion",
            prefix="motions",
            display_name="Motion modules",
            version="0.1.0",
            menu_order=70,
            sub_types=[SubType("motion", "Motion module")],
            sub_types_closed=True,
            extensions=[".safetensors", ".ckpt"],
            roots=[RootKind("motion", ["animatediff_models"], "default_motion_root")],
            remote_types=["motionmodule"],
            remote_types_text="Motion module",
            default_path_template="{base_model}",
            hashing=HashPolicy.WHEN_NEEDED,
            new_from_remote=True,
            new_sidecar_fields="{}",
            headers=HeaderInterest([], [FRAMES]),
            query_parameters=[],
            usage_bucket=None,
            filename_conflicts_off=None,
            facets=[Facet("folder", "Folder"), Facet("base-model", "Base model"), Facet("tag", "Tags")],
            columns=[Column("base_model", "Base model"), Column("frames", "Frames"), Column("file_size", "Size")],
            capabilities=Capabilities([], False, []),
        )

    def setup_specific_routes(self, registrar):
        registrar.add_route("GET", "/api/lm/{prefix}/frames/{name}", "frames")
        registrar.add_route("GET", "/api/lm/{prefix}/within", "within")
        registrar.add_route("GET", "/api/lm/{prefix}/do/{what}", "do")

    def handle(self, handler, request):
        answers = {"frames": self.frames, "within": self.within, "do": self.do}
        if handler not in answers:
            raise Err(Error_NotFound(f"There is no handler {handler}."))
        body = json.dumps({"success": True, **answers[handler](dict(request.path_params))})
        return Response(200, "application/json", body.encode())

    def frames(self, params):
        model = library.get(library.Lookup_Reference(params["name"]))
        if model is None:
            raise Err(Error_NotFound(f"There is no motion module called {params['name']}."))
        return {"frames": json.loads(model.fields).get("frames", 0)}

    def within(self, _):
        """What a component sees of the machine."""
        seen = {"environment": dict(os.environ), "arguments": sys.argv[1:], "random": random.SystemRandom().random()}
        seen["now"] = time.time()
        for what, attempt in {
            "files": lambda: os.listdir("/"),
            "reading": lambda: open("/etc/passwd").read(),
            "sockets": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            "names": lambda: socket.getaddrinfo("localhost", 80),
        }.items():
            try:
                seen[what] = str(attempt())
            except OSError as error:
                seen[what] = None
                log.write(log.Level.INFO, f"{what}: {error}")
        return seen

    def do(self, params):
        what = params["what"]
        if what == "print":
            print("printed by the guest")
        elif what == "sleep":
            time.sleep(600)
        elif what == "raise":
            raise ValueError("asked to raise")
        elif what == "allocate":
            return {"length": len(bytearray(1 << 30))}
        else:
            raise Err(Error_Invalid(f"It can't do {what!r}."))
        return {}

    def derive(self, files):
        return [derive_one(file) for file in files]

    def format(self, models):
        return [model.fields for model in models]

    def parse_query(self, parameters):
        return QueryFilter([], None, None, NamePatterns([], [], False))

    def merge_remote(self, inputs):
        return [merge_one(given) for given in inputs]

    def organise(self, inputs):
        return [Placement([("base_model", given.base_model)], None, "motion") for given in inputs]

    def select_file(self, inputs):
        return [select_one(given) for given in inputs]

    def validate_remote_type(self, remote_type):
        if remote_type.lower() != "motionmodule":
            raise Err(Error_Invalid(f"Expected Motion module, got {remote_type}"))
