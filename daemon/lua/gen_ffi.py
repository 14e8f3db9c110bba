#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the FFI declarations of Lua and the table that checks them, from the C headers.

The headers are preprocessed, split into top-level declarations, and those named in ffi.names are
printed with everything they need by value. No struct is written down a second time by hand.
"""
import argparse
import os
import re
import subprocess
import sys

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[A-Za-z_]\w*|'
                   r'0[xX][0-9a-fA-F]+[uUlL]*|\d+[uUlL]*|\.\.\.|<<|>>|\S')
IDENT = re.compile(r'[A-Za-z_]\w*$')
# Known to LuaJIT, or words of C.
BUILTIN = set('''void char short int long float double signed unsigned bool _Bool const volatile size_t
ptrdiff_t intptr_t uintptr_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t wchar_t
va_list struct union enum typedef sizeof'''.split())
DROPPED = set('''__extension__ extern static inline __inline __inline__ register _Noreturn restrict
__restrict __restrict__'''.split())
WITH_ARGS = {'__attribute__', '__asm__', '__asm', 'asm', '_Static_assert', '_Alignas'}


def fail(text):
    """End with a message."""
    sys.exit('gen_ffi: ' + text)


def clean(tokens):
    """Remove attributes and storage classes."""
    out = []
    i = 0
    while i < len(tokens):
        tok = tokens[i]
        if tok in WITH_ARGS:
            i = closing(tokens, i + 1) + 1
            continue
        if tok not in DROPPED:
            out.append({'_Bool': 'bool', '__const': 'const'}.get(tok, tok))
        i += 1
    return out


def closing(tokens, i):
    """Position of the bracket that closes the one at i."""
    depth = 0
    while i < len(tokens):
        if tokens[i] in '([{':
            depth += 1
        elif tokens[i] in ')]}':
            depth -= 1
            if depth == 0:
                return i
        i += 1
    fail('unbalanced brackets')
    return None


def split_top(text):
    """Yield the tokens of each top-level declaration, without the semicolon."""
    tokens = TOKEN.findall(text)
    start = i = 0
    while i < len(tokens):
        tok = tokens[i]
        if tok == ';':
            yield tokens[start:i]
            start = i + 1
        elif tok in '([{':
            end = closing(tokens, i)
            is_body = tok == '{' and i > start and tokens[i - 1] == ')' and \
                '__attribute__' not in tokens[max(start, i - 6):i] or \
                tok == '{' and 'inline' in ''.join(tokens[start:i])
            if is_body and tokens[start] not in ('typedef', 'struct', 'union', 'enum') \
                    or is_body and '(' in tokens[start:i]:
                start = end + 1  # a function with its body
            i = end
        i += 1


def members(body):
    """Split the inside of a struct into members."""
    out, start, i = [], 0, 0
    while i < len(body):
        if body[i] in '([{':
            i = closing(body, i)
        elif body[i] == ';':
            out.append(body[start:i])
            start = i + 1
        i += 1
    return out


def declarator_name(tokens):
    """Name that a declaration gives to something, or None."""
    i, last = 0, None
    while i < len(tokens):
        tok = tokens[i]
        if tok == '{':
            i = closing(tokens, i)
        elif tok == '(':
            end = closing(tokens, i)
            inner = tokens[i + 1:end]
            if inner and (inner[0] == '*' or end + 1 < len(tokens) and tokens[end + 1] == '('):
                return declarator_name([t for t in inner if t != '*'])
            return last
        elif tok in '[:=':
            return last
        elif IDENT.match(tok) and tok not in BUILTIN:
            last = tok
        i += 1
    return last


def declarator_names(tokens):
    """Names of a member declaration such as `int snd, rcv`."""
    names, start, i = [], 0, 0
    while i < len(tokens):
        if tokens[i] in '([{':
            i = closing(tokens, i)
        elif tokens[i] == ',':
            names.append(declarator_name(tokens[start:i]))
            start = i + 1
        i += 1
    names.append(declarator_name(tokens[start:]))
    return names


class Headers:
    """All declarations of the preprocessed headers, by name."""

    def __init__(self, text):
        text = re.sub(r'^#.*$', '', text, flags=re.M)
        self.typedefs, self.tags, self.funcs, self.variables = {}, {}, {}, {}
        self.constants = {}
        for decl in split_top(text):
            decl = clean(decl)
            if decl:
                self.add(decl)

    def add(self, decl):
        """Put one declaration where it belongs."""
        self.add_tags(decl)
        if decl[0] == 'typedef':
            for name in declarator_names(decl[1:]):
                self.typedefs.setdefault(name, decl[1:])
            return
        flat = self.without_bodies(decl)
        if '(' in flat and not ('=' in flat and flat.index('=') < flat.index('(')):
            at = flat.index('(')
            name = flat[at - 1]
            if IDENT.match(name):
                self.funcs.setdefault(name, decl)
                return
        name = declarator_name(flat)
        if name and len(flat) > 1 and not (flat[0] in ('struct', 'union', 'enum') and len(flat) == 2):
            self.variables.setdefault(name, decl)

    @staticmethod
    def without_bodies(decl):
        """Declaration without what is inside braces."""
        out, i = [], 0
        while i < len(decl):
            if decl[i] == '{':
                i = closing(decl, i)
            else:
                out.append(decl[i])
            i += 1
        return out

    def add_tags(self, decl):
        """Remember every struct, union and enum that is defined inside."""
        for i, tok in enumerate(decl):
            if tok not in ('struct', 'union', 'enum'):
                continue
            tag = decl[i + 1] if IDENT.match(decl[i + 1]) else None
            at = i + 2 if tag else i + 1
            if at >= len(decl) or decl[at] != '{':
                continue
            body = decl[at + 1:closing(decl, at)]
            if tag:
                self.tags.setdefault((tok, tag), body)
            if tok == 'enum':
                self.add_constants(body)

    def add_constants(self, body):
        """Evaluate the enumerators of an enum."""
        value, start, i = -1, 0, 0
        items = []
        while i <= len(body):
            if i == len(body) or body[i] == ',':
                items.append(body[start:i])
                start = i + 1
            elif body[i] == '(':
                i = closing(body, i)
            i += 1
        for item in items:
            if not item:
                continue
            value = self.evaluate(item[2:]) if len(item) > 1 else value + 1
            if value is None:
                return
            self.constants[item[0]] = value

    def evaluate(self, tokens):
        """Value of a constant expression, or None."""
        expr = []
        for tok in tokens:
            tok = re.sub(r'^(0[xX][0-9a-fA-F]+|\d+)[uUlL]+$', r'\1', tok)
            if tok in self.constants:
                tok = str(self.constants[tok])
            if IDENT.match(tok):
                return None
            if re.match(r'^0\d+$', tok):
                tok = '0o' + tok[1:]
            if tok[0] == "'":
                tok = str(ord(tok[1:-1])) if len(tok) == 3 else '0'
            expr.append('//' if tok == '/' else tok)
        try:
            return int(eval(' '.join(expr), {'__builtins__': {}}))  # digits and operators only
        except (SyntaxError, NameError, TypeError, ValueError, ZeroDivisionError):
            return None


class Generator:
    """Prints what is wanted, dependencies first."""

    def __init__(self, headers):
        self.headers = headers
        self.wanted_types = set()
        self.parts, self.texts, self.opaque, self.renames = {}, {}, set(), {}
        self.order, self.functions, self.variables = [], [], []
        self.optional = set()
        self.done, self.out, self.layouts = set(), [], []

    def read_names(self, path):
        """Read ffi.names."""
        with open(path, encoding='utf-8') as file:
            for line in file:
                words = line.split('#')[0].split() if not line.startswith('text') else line.split()
                if words:
                    self.read_line(words)

    def read_line(self, words):
        """One line of ffi.names."""
        kind, rest = words[0], words[1:]
        is_optional = kind.endswith('?')
        kind = kind.rstrip('?')
        if is_optional:
            self.optional.update(rest)
        if kind == 'func':
            self.functions += rest
        elif kind == 'var':
            self.variables += rest
        elif kind == 'rename':
            self.renames.setdefault(rest[0], {})[rest[1]] = rest[2]
        elif kind == 'text':
            at = rest.index('=')
            name = ' '.join(rest[:at])
            self.texts[name] = ' '.join(rest[at + 1:])
            self.want(name)
        elif kind == 'part':
            name = ' '.join(rest[:2])
            self.parts[name] = rest[2]
            self.want(name)
        elif kind == 'opaque':
            self.opaque.add(rest[0])
            self.want(rest[0])
        elif kind == 'type':
            self.want(rest[0])
        else:
            self.want(kind + ' ' + rest[0])

    def want(self, name):
        """Remember a type in the order of the list."""
        self.wanted_types.add(name)
        self.order.append(name)

    def run(self):
        """Print everything."""
        for name in self.order:
            self.emit_type(name)
        for name in self.variables:
            self.emit_named(name, self.headers.variables, 'extern ')
        for name in self.functions:
            self.emit_named(name, self.headers.funcs, '')

    def emit_named(self, name, index, prefix):
        """A function or a variable."""
        decl = index.get(name)
        if not decl:
            if name in self.optional:
                return
            fail(name + ' is not declared by any header')
        self.out.append(prefix + self.text(self.resolve(decl, name)) + ';')

    def emit_type(self, name):
        """A typedef or a tag, once."""
        if name in self.done:
            return
        self.done.add(name)
        if name in self.texts:
            self.out.append(self.texts[name])
        elif name in self.opaque:
            self.out.append(f'typedef struct {name.removesuffix("_t")} {name};')
        elif ' ' in name:
            self.emit_tag(*name.split())
        else:
            self.emit_typedef(name)

    def emit_typedef(self, name):
        """A typedef; forward declaration first, because the struct may point back at it."""
        decl = self.headers.typedefs.get(name)
        if not decl:
            if name in self.optional:
                return
            fail(f'type {name} is not declared by any header')
        if '{' in decl:
            at = decl.index('{')
            tag = decl[at - 1] if decl[at - 1] != decl[0] else None
            if tag:
                self.emit_type(f'{decl[0]} {tag}')
                decl = decl[:at] + decl[closing(decl, at) + 1:]
            elif decl[0] == 'enum':
                self.out.append(f'typedef enum {{ {self.enum_items(decl[2:-2])} }} {name};')
                return
            elif decl[0] == 'struct':
                body = decl[at + 1:closing(decl, at)]
                self.add_layout(name, name, body)
                body = self.rename(name, body)
                decl = decl[:at + 1] + body + decl[closing(decl, at):]
        elif decl[0] in ('struct', 'union') and len(decl) == 3:
            self.out.append('typedef ' + ' '.join(decl) + ';')
            return
        self.out.append('typedef ' + self.text(self.resolve(decl, name)) + ';')

    def emit_tag(self, kind, tag):
        """A struct, union or enum with its body."""
        name = f'{kind} {tag}'
        body = self.headers.tags.get((kind, tag))
        if body is None:
            if tag in self.optional:
                return
            fail(f'{name} is not defined by any header')
        if kind == 'enum':
            self.out.append(f'{name} {{ {self.enum_items(body)} }};')
            return
        for typedef, decl in self.headers.typedefs.items():  # names used inside for itself
            if decl == [kind, tag, typedef] and typedef in self.wanted_types:
                self.emit_type(typedef)
        if name in self.parts:
            body = self.cut(name, body, self.parts[name])
            self.add_layout(name, name, body, False)
        else:
            self.add_layout(name, name, body)
        body = self.rename(name, body)
        self.out.append(f'{name} {{ ' + self.text(self.resolve(body, name)) + ' };')

    def enum_items(self, body):
        """Enumerators with their values."""
        known = self.headers.constants
        return ', '.join(f'{k} = {known[k]}' for k in body
                         if k in known and self.is_enumerator(body, k))

    @staticmethod
    def is_enumerator(body, word):
        """Is this word of an enum's body a name being defined?"""
        at = body.index(word)
        return at == 0 or body[at - 1] == ','

    @staticmethod
    def cut(name, body, last):
        """Members up to and including `last`."""
        out = []
        for member in members(body):
            out += member + [';']
            if last in declarator_names(member):
                return out
        fail(f'{name} has no member {last}')
        return None

    def rename(self, name, body):
        """Apply the renames of a type to its members."""
        table = self.renames.get(name, {})
        out = []
        for member in members(body):
            names = declarator_names(member)
            out += [table.get(t, t) if t in names else t for t in member] + [';']
        return out

    def add_layout(self, lua_type, c_type, body, is_whole=True):
        """Remember size and offsets for the check."""
        table = self.renames.get(lua_type, {})
        if is_whole:
            self.layouts.append((lua_type, None, f'sizeof({c_type})'))
        for member in members(body):
            if ':' in member:
                continue  # a bit has no address; its struct's size is compared
            for name in declarator_names(member):
                if name:
                    self.layouts.append((lua_type, table.get(name, name),
                                         f'offsetof({c_type}, {name})'))

    def resolve(self, tokens, user):
        """Replace what Lua shall not see, and print what is needed first."""
        out, i = [], 0
        while i < len(tokens):
            tok = tokens[i]
            nxt = tokens[i + 1] if i + 1 < len(tokens) else ''
            if tok in ('struct', 'union', 'enum') and IDENT.match(nxt):
                out += self.resolve_tag(tok, nxt, tokens[i + 2:], user)
                i += 2
                continue
            if tok in self.headers.constants:
                out.append(str(self.headers.constants[tok]))
            elif self.is_typedef_use(tokens, i, out):
                out += self.resolve_typedef(tok, user)
            else:
                out.append(tok)
            i += 1
        return out

    def is_typedef_use(self, tokens, i, out):
        """Is this identifier a type and not the name of something?"""
        tok = tokens[i]
        if not IDENT.match(tok) or tok in BUILTIN or tok not in self.headers.typedefs:
            return False
        nxt = tokens[i + 1] if i + 1 < len(tokens) else ''
        if nxt and (IDENT.match(nxt) or nxt in '*('):
            return True
        if nxt == ')' or nxt == ',':  # a parameter without a name
            return not out or out[-1] in '(,' or out[-1] == 'const'
        return False

    def resolve_tag(self, kind, tag, following, user):
        """`struct x` in a declaration."""
        name = f'{kind} {tag}'
        if following and following[0] == '{':
            return [kind, tag]
        if kind == 'enum':
            if name not in self.wanted_types:
                return ['int']
            self.emit_type(name)
            return [kind, tag]
        after = [t for t in following[:2] if t not in ('const', 'volatile')]
        is_value = bool(after) and after[0] != '*' and after[0] not in '),'
        if is_value and user in self.headers.typedefs and len(following) <= 1:
            is_value = False  # typedef of an incomplete struct
        if is_value:
            if name not in self.wanted_types:
                fail(f'{name} is needed by {user}; decide about it in ffi.names')
            self.emit_type(name)
        return [kind, tag]

    def resolve_typedef(self, tok, user):
        """A typedef name in a declaration."""
        if tok in self.wanted_types:
            self.emit_type(tok)
            return [tok]
        decl = self.headers.typedefs[tok]
        if '{' in decl and decl[0] == 'enum':
            return ['int']
        if '{' in decl or '(' in decl or '[' in decl:
            fail(f'{tok} is needed by {user}; decide about it in ffi.names')
        at = len(decl) - 1 - decl[::-1].index(tok)
        return self.resolve(decl[:at] + decl[at + 1:] + ['*'], user)[:-1]

    @staticmethod
    def text(tokens):
        """Tokens as text."""
        return ' '.join(tokens).replace(' ;', ';').replace('( ', '(').replace(' )', ')')


def preprocess(compiler, header):
    """Run the C preprocessor."""
    return subprocess.run(compiler + ['-E', '-P', '-w', '-D_GNU_SOURCE', header],
                          check=True, stdout=subprocess.PIPE, text=True).stdout


def write_depfile(compiler, header, target, path):
    """Let ninja know which headers matter."""
    deps = subprocess.run(compiler + ['-w', '-D_GNU_SOURCE', '-M', header], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    files = deps.split(':', 1)[1].replace('\\\n', ' ').split()
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{target}: ' + ' '.join(files) + '\n')


def write_check(gen, header, path):
    """The C side of the layout check."""
    rows = ''.join(f'\t{{"{t}", {chr(34) + m + chr(34) if m else "NULL"}, {e}}},\n'
                   for t, m, e in gen.layouts)
    with open(path, 'w', encoding='utf-8') as file:
        file.write('/* SPDX-License-Identifier: GPL-3.0-or-later */\n'
                   '/* Written by daemon/lua/gen_ffi.py. */\n'
                   '#include <stddef.h>\n'
                   f'#include "{header}"\n'
                   '#include "daemon/lua/layout.h"\n\n'
                   'const struct ffi_layout ffi_layouts[] = {\n'
                   f'{rows}\t{{NULL, NULL, 0}},\n}};\n')


def main():
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--names', required=True)
    parser.add_argument('--header', required=True)
    parser.add_argument('--lua', required=True)
    parser.add_argument('--check', required=True)
    parser.add_argument('--depfile')
    parser.add_argument('compiler', nargs='+')
    args = parser.parse_args()
    gen = Generator(Headers(preprocess(args.compiler, args.header)))
    gen.read_names(args.names)
    gen.run()
    with open(args.lua, 'w', encoding='utf-8') as file:
        file.write('-- SPDX-License-Identifier: GPL-3.0-or-later\n'
                   '-- Written by daemon/lua/gen_ffi.py from the C headers.\n'
                   "require('ffi').cdef[=[\n" + '\n'.join(gen.out) + '\n]=]\n')
    write_check(gen, 'daemon/lua/ffi.h', args.check)
    if args.depfile:
        write_depfile(args.compiler, args.header, os.path.relpath(args.lua), args.depfile)


if __name__ == '__main__':
    main()
