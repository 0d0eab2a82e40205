#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# What the comments of a public header leave out.
#
#   header_doc.py library HEADER     each function: a comment that names it, every parameter,
#                                    what it returns; each structure: every field
#   header_doc.py uapi HEADER        each structure: every field, with its unit; each number, with
#                                    its range, or it has a line in the table of ranges on top;
#                                    each request: which locks it takes, of those that the top
#                                    names, and what it waits for;
#                                    each errno: a line in the table of errors
#
# Prints a line a gap. Exit status: 0 none, 1 some.
import re
import sys
from fnmatch import fnmatchcase

# Names whose unit is part of them, and what the text of others must say. The first that
# fits the end of a field's name counts.
UAPI_FIELDS = [
    (r'__reserved\d*', r'\b0\b', 'that it is 0'),
    (r'(^|_)(flags|access|features|cancel)$', r'VB_|O_CLOEXEC|must be 0|\bas given\b',
     'which bits, or that it is 0'),
    (r'(^|_)(kind|life|advice|tier|state|type|mode|act|format|opcode|limit|op)$',
     r'enum vb_|^VB_|opcode VB_|\b0\b|what to', 'which enum'),
    (r'(^|_)size$', r'sizeof\(struct vb_', 'sizeof what'),
    (r'(^|_)(fd)$', r'.', None),
    (r'(^|_)address$', r'array|struct|memory|address|stream|table|where|\[', 'what is there'),
    (r'_f32$', r'.', None),
    (r'(_bytes|_ns|_ms|_pages)$', r'.', None),
    (r'(^|_)bytes$', r'.', None),
]

# What those say that can be but some values: all that UAPI_FIELDS asks more of, but for these.
ANY_TEXT = re.compile(r'(^|_)fd$|address$|_f32$|(_bytes|_ns|_ms|_pages|^bytes)$')
# A range: two ends, one end, one value, the values of a type, or that of another field.
RANGE = re.compile(r'''\S\ \.\.\ \S | VB_\w+\.\.MAX | \bor\ (-1|~0|VB_[A-Z_]+)\b | \bmust\ be\ 0\b
                   | \b(at\ least|at\ most|up\ to|above|below)\ ([0-9@]|VB_) | \benum\ vb_
                   | \ball\ values\b | \bfinite\b | \bpower\ of\ two\b | \bsizeof\b | ^VB_[A-Z_]+$
                   | \bas\ (given|VB_IOC_|struct\ vb_|in\ struct\ vb_)''', re.X)


def text_of(comment):
    """A comment without its decoration."""
    lines = [re.sub(r'^\s*/?\*+/?\s?', '', l) for l in comment.rstrip().removesuffix('*/').split('\n')]
    return '\n'.join(lines).strip()


def parts(comment):
    """First line, {parameter: text}, the rest with its sections."""
    first, params, rest, name = '', {}, [], None
    for i, line in enumerate(text_of(comment).split('\n')):
        m = re.match(r'@([a-z_0-9]+)(?:, @[a-z_0-9]+)*: ?(.*)', line)
        if i == 0:
            first = line
        elif m:
            for name in re.findall(r'@([a-z_0-9]+)', line[:line.index(':')]):
                params[name] = m.group(2)
        elif name and line.strip() and not re.match(r'(Context|Return|Errors):', line):
            params[name] += ' ' + line.strip()
        else:
            name = None
            rest.append(line)
    return first, params, '\n'.join(rest)


def fields_of(body):
    """(name, trailing comment or '') of each field of a structure."""
    found = []
    body = re.sub(r'union \{|\n\t\};', '', body)
    for m in re.finditer(r'([^;{}]+);[ \t]*(/\*.*?\*/)?', body, re.S):
        declaration = re.sub(r'/\*.*?\*/', '', m.group(1), flags=re.S)
        declaration = re.sub(r'\[[^]]*\]', '', declaration)
        if '(' in declaration or not declaration.strip():
            continue
        for one in declaration.split(','):
            found.append((re.findall(r'\w+', one)[-1], m.group(2) or ''))
    return found


def numbers_of(body):
    """Names of the fields that are no structures."""
    return re.findall(r'\n?\t__[us]\d+ (\w+)', body)


def structures(source):
    for m in re.finditer(r'(/\*(?:(?!\*/).)*\*/)?\s*\nstruct (\w+) \{\n(.*?)\n\};', source, re.S):
        yield m.group(1) or '', m.group(2), m.group(3)


def functions(source):
    for m in re.finditer(r'(/\*(?:(?!\*/).)*\*/)?\s*\nVGPU_API ([^;]*?)\b(vgpu_\w+)\(([^;]*)\);',
                         source, re.S):
        pieces = re.sub(r'\w+ \(\*(\w+)\)\([^)]*\)', r'int \1', m.group(4)).split(',')
        names = [re.findall(r'\w+', p)[-1] for p in pieces if p.strip() != 'void']
        yield m.group(1) or '', m.group(2).strip(), m.group(3), names


def library(source):
    gaps = []
    for comment, kind, name, params in functions(source):
        first, said, rest = parts(comment)
        if not comment.startswith('/**') or not first.startswith(name + '() - '):
            gaps.append(f'{name}(): no comment that begins with its name')
            continue
        gaps += [f'{name}(): nothing about @{p}' for p in params if p not in said]
        gaps += [f'{name}(): has no parameter @{p}' for p in said if p not in params]
        if kind != 'void' and not re.search(r'\bReturn: \S', text_of(comment)):
            gaps.append(f'{name}(): nothing about what it returns')
    for comment, name, body in structures(source):
        first, said, _ = parts(comment)
        if not comment.startswith('/**') or not first.startswith(f'struct {name} - '):
            gaps.append(f'struct {name}: no comment that begins with its name')
            continue
        fields = fields_of(body)
        gaps += [f'struct {name}: nothing about @{f}' for f, beside in fields
                 if f not in said and not beside]
        gaps += [f'struct {name}: has no field @{f}' for f in said
                 if f not in [n for n, _ in fields]]
    return gaps


def field_gap(name, text):
    for pattern, needed, what in UAPI_FIELDS:
        if re.search(pattern, name):
            return None if re.search(needed, text) else what
    return None


def range_table(head):
    """{pattern of a field's name: text} from the lines on top that begin with @."""
    return {name.strip('@ '): row.group(2)
            for row in re.finditer(r'^ \*   ((?:@[^\s,]+(?:, )?)+) +(\S.*)$', head, re.M)
            for name in row.group(1).split(',')}


def has_range(name, text, table):
    if any(re.search(p, name) for p, _, what in UAPI_FIELDS if what and not ANY_TEXT.search(name)):
        return True
    rows = [row for pattern, row in table.items()
            if fnmatchcase(name, pattern) or fnmatchcase(name.removeprefix('out_'), pattern)]
    return any(RANGE.search(said) for said in [text] + rows)


def unknown_locks(comment, known):
    """Locks of a request that the list on top does not have."""
    context = re.search(r'\bContext: (.*?)(\n\s*\n|$)', text_of(comment), re.S)
    named = re.findall(r"([\w']+)\s+(?:spin)?lock\b", context.group(1) if context else '')
    return [name for name in named if name not in known | {'no', 'a', 'any'}]


def uapi(source):
    gaps, requests = [], {}
    head = source[:source.index('#ifndef')]
    locks = set(re.findall(r'"([\w\']+) lock"', head))
    table, ranges = set(re.findall(r'-(E[A-Z0-9]+)', head)), range_table(head)
    for comment, name, body in structures(source):
        first, said, rest = parts(comment)
        fields = [n for n, _ in fields_of(body)]
        if not comment.startswith('/**') or not first.startswith(f'struct {name} - '):
            gaps.append(f'struct {name}: no comment that begins with its name')
            continue
        gaps += [f'struct {name}: nothing about @{f}' for f in fields if not said.get(f, '').strip()]
        gaps += [f'struct {name}: has no field @{f}' for f in said if f not in fields]
        for f in fields:
            what = field_gap(f, said.get(f, ''))
            if what and f in said:
                gaps.append(f'struct {name}: @{f} does not say {what}')
            if f in numbers_of(body) and f in said and not has_range(f, said[f], ranges):
                gaps.append(f'struct {name}: @{f} does not say its range')
            if not f.startswith('out_') and said.get(f, '').startswith('out:'):
                gaps.append(f'struct {name}: @{f} is only written, and does not begin with out_')
        asked = re.findall(r'ioctl\((VB_IOC_\w+)\)', text_of(comment))
        for request in asked:
            requests[request] = name
        if asked and not re.search(r'\bContext: \S', text_of(comment)):
            gaps.append(f'{asked[0]}: no Context: which locks, what it waits for')
        gaps += [f'{asked[0]}: takes the "{lock} lock", which the top does not name'
                 for lock in (unknown_locks(comment, locks) if asked else [])]
        if asked and fields[0] != 'size':
            gaps.append(f'struct {name}: does not begin with its size')
    for request, name in re.findall(r'#define (VB_IOC_\w+)\s+_IO\w+\([^,]*, [^,]*, struct (\w+)\)', source):
        if requests.get(request) != name:
            gaps.append(f'{request}: the comment of struct {name} does not name it')
    for errno in sorted(set(re.findall(r'-(E[A-Z0-9]{2,})\b', source[len(head):])) - table):
        gaps.append(f'-{errno}: not in the table of errors')
    return gaps


def main():
    check = {'library': library, 'uapi': uapi}[sys.argv[1]]
    gaps = check(open(sys.argv[2], encoding='utf-8').read())
    print('\n'.join(gaps), end='\n' if gaps else '')
    return 1 if gaps else 0


sys.exit(main())
