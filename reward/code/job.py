# The server inside the job: runs the answer and answers calls to it. Nothing here is trusted.
import builtins, json, os


def main():
    inp, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    names = {"__name__": "answer"}
    objects = []
    failure = None
    try:
        exec(compile(json.loads(inp.readline()), "answer.py", "exec"), names)
    except BaseException as e:
        failure = e

    def encode(v):
        if v is None or isinstance(v, (bool, str)):
            return v if type(v) is not str else str.__str__(v)
        if isinstance(v, int):
            v = int(v)
            return v if v.bit_length() <= 64 else ["i", hex(v)]
        if isinstance(v, float):
            return ["f", float(v).hex()]
        if isinstance(v, complex):
            return ["c", v.real.hex(), v.imag.hex()]
        if isinstance(v, (bytes, bytearray)):
            return ["b", v.hex()]
        for tag, kind in (("l", list), ("t", tuple), ("s", set), ("z", frozenset)):
            if isinstance(v, kind):
                return [tag] + [encode(x) for x in v]
        if isinstance(v, dict):
            return ["d"] + [[encode(k), encode(x)] for k, x in v.items()]
        if type(v).__module__ == "numpy" and hasattr(v, "item") and not hasattr(v, "__len__"):
            return encode(v.item())
        objects.append(v)
        return ["o", len(objects) - 1]

    def decode(v):
        if not isinstance(v, list):
            return v
        tag, rest = v[0], v[1:]
        if tag == "i":
            return int(rest[0], 16)
        if tag == "f":
            return float.fromhex(rest[0])
        if tag == "c":
            return complex(float.fromhex(rest[0]), float.fromhex(rest[1]))
        if tag == "b":
            return bytes.fromhex(rest[0])
        if tag == "o":
            return objects[rest[0]]
        if tag == "g":
            return names[rest[0]]
        if tag == "built-in":
            return getattr(builtins, rest[0])
        if tag == "d":
            return {decode(k): decode(x) for k, x in rest}
        return {"l": list, "t": tuple, "s": set, "z": frozenset}[tag](decode(x) for x in rest)

    def answer(op, on, args, kw):
        on = decode(on)
        args = [decode(a) for a in args]
        if op == "call":
            return on(*args, **{k: decode(v) for k, v in kw})
        if op == "attr":
            return getattr(on, args[0])
        if op == "setattr":
            return setattr(on, *args)
        return list(on)

    for line in inp:
        try:
            if failure is not None:
                raise failure
            reply = json.dumps(["ok", encode(answer(*json.loads(line)))])
        except BaseException as e:
            try:
                reply = json.dumps(["err", [c.__name__ for c in type(e).__mro__], str(e)[:1000]])
            except BaseException:
                reply = '["err", ["Exception"], ""]'
        out.write(reply.encode("ascii") + b"\n")
        out.flush()


main()
