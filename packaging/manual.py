#!/usr/bin/env python3
"""Writes the manual page uwsgi-hetzner(7), made from docs/configuration.md, so that the two cannot differ,
and from packaging/uwsgi.ini, which is its example. SOURCE_DATE_EPOCH gives its date.

It knows the Markdown that is used there: sections, paragraphs, lists, tables, quotes and fenced blocks."""

import os
import re
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

HEAD = """\
.SH NAME
uwsgi\\-hetzner \\- move Hetzner addresses to the Lord of a uWSGI legion
.SH SYNOPSIS
.nf
[uwsgi]
need\\-plugin = hetzner
legion\\-lord = \\fILEGION\\fR hetzner\\-failoverip:\\fIkey\\fR=\\fIvalue\\fR,\\fIkey\\fR=\\fIvalue\\fR,...
legion\\-lord = \\fILEGION\\fR hetzner\\-floatingip:\\fIkey\\fR=\\fIvalue\\fR,...
legion\\-lord = \\fILEGION\\fR hetzner\\-aliasip:\\fIkey\\fR=\\fIvalue\\fR,...
.fi
.PP
.nf
uwsgi \\-\\-ini \\fIFILE\\fR \\-\\-hetzner\\-check | \\-\\-hetzner\\-check\\-json
uwsgi \\-\\-ini \\fIFILE\\fR \\-\\-hetzner\\-switch | \\-\\-hetzner\\-unroute
      [\\-\\-hetzner\\-only \\fIIP\\fR] [\\-\\-hetzner\\-yes]
.fi
.SH DESCRIPTION
A few Hetzner servers share an address: a failover IP of dedicated servers, or a Floating IP or an alias IP
of Cloud servers.
They form a uWSGI legion, which elects one of them as its Lord.
This plugin moves the address to the Lord, through Hetzner's Robot webservice or its Cloud API.
"""

TAIL = """\
.SH SEE ALSO
.BR uwsgi (1),
.BR uwsgi\\-core (1),
.BR systemd.exec (5)
"""

# The first column of a table is what its rows are about. These say what that is, and need no label.
MEANINGS = ('meaning', 'what it does', 'what it is', 'what it is about', 'effect', 'value', 'why it matters here')
# Further names of the same thing.
ALIASES = ('alias',)


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read()


def escape(text):
    for character, escaped in (('\\', '\\e'), ('-', '\\-'), ('~', '\\(ti'), ('^', '\\(ha'), ('`', '\\(ga'), ("'", '\\(aq')):
        text = text.replace(character, escaped)
    return text


def plain(text):
    """Text that is no code: its hyphens and apostrophes are those of a sentence."""
    return escape(text).replace('\\-', '-').replace('\\(aq', "'")


def link(match):
    text, target = match.groups()
    return '%s (%s)' % (text, target) if '://' in target else text


def inline(text):
    """A paragraph: code and strong text are bold, emphasis is italic, and links are their texts."""
    codes = []

    def keep(match):
        codes.append('\\fB%s\\fR' % escape(match.group(2).strip()))
        return '\0%d\0' % (len(codes) - 1)

    text = re.sub(r'(`+)(.+?)\1', keep, text)
    text = re.sub(r'\[([^]]*)\]\(([^)\s]*)\)', link, text)
    text = plain(text)
    text = re.sub(r'\*\*(.+?)\*\*', r'\\fB\1\\fR', text)
    text = re.sub(r'(?<!\w)\*(?!\s)(.+?)\*', r'\\fI\1\\fR', text)
    return re.sub('\0(\\d+)\0', lambda match: codes[int(match.group(1))], text)


def lines(text):
    """One sentence in each line, as roff wants it, and none of them a request."""
    for line in re.split(r'(?<=[A-Za-z0-9)][.:]) (?=[A-Z\\])', text):
        yield '\\&' + line if line[:1] in ('.', "'") else line


def example(block):
    yield '.PP'
    yield '.in +4n'
    yield '.nf'
    for line in block:
        line = escape(line)
        yield '\\&' + line if line[:1] in ('.', "'") else line
    yield '.fi'
    yield '.in'


def cells(row):
    row = row.strip()[1:-1].replace('\\|', '\0')
    return [cell.strip().replace('\0', '|') for cell in row.split('|')]


def capitalized(text):
    """A link begins with its text."""
    first = 1 if text.startswith('[') else 0
    return text[:first] + text[first:first + 1].upper() + text[first + 1:]


def table(rows):
    """A list: of each row the first cell, and what the others say of it."""
    header, body = cells(rows[0]), [cells(row) for row in rows[2:]]
    for row in body:
        # A column that is an option has its values.
        first = '%s %s' % (header[0], row[0]) if header[0].startswith('`') else row[0]
        names = [first] + [cell for title, cell in zip(header, row) if title in ALIASES and cell]
        yield '.TP'
        yield ', '.join(inline(name) for name in names if name) or '\\&'
        sentences = []
        for title, cell in list(zip(header, row))[1:]:
            if title in ALIASES or not cell:
                continue
            cell = cell if cell.endswith('.') else cell + '.'
            sentences.append(capitalized(cell) if title in MEANINGS else '%s: %s' % (title.capitalize(), cell))
        for sentence in sentences or ['']:
            yield from lines(inline(sentence) or '\\&')


def blocks(text):
    """The paragraphs, lists, tables and fenced blocks: their kinds and their lines."""
    waiting = text.splitlines()
    while waiting:
        line = waiting.pop(0)
        if line.startswith('```'):
            end = waiting.index('```')
            yield 'example', waiting[:end]
            waiting = waiting[end + 1:]
        elif line.startswith('#'):
            yield 'heading', [line]
        elif line.startswith('|'):
            rows = [line]
            while waiting and waiting[0].startswith('|'):
                rows.append(waiting.pop(0))
            yield 'table', rows
        elif line.strip():
            kind = 'quote' if line.startswith('> ') else 'item' if re.match(r'(-|\d+\.) ', line) else 'text'
            paragraph = [line]
            while waiting and waiting[0].strip() and not re.match(r'(```|#|\||> |- |\d+\. )', waiting[0]):
                paragraph.append(waiting.pop(0).strip())
            yield kind, paragraph


def roff(text):
    for kind, content in blocks(text):
        if kind == 'heading':
            level, title = content[0].split(' ', 1)
            title = title.replace('`', '')
            yield '.SH ' + escape(title.upper()) if level == '##' else '.SS ' + escape(title)
        elif kind == 'example':
            yield from example(content)
        elif kind == 'table':
            yield from table(content)
        elif kind == 'item':
            mark, rest = ' '.join(content).split(' ', 1)
            yield '.IP %s 4' % ('\\(bu' if mark == '-' else mark)
            yield from lines(inline(rest))
        elif kind == 'quote':
            yield '.PP'
            yield '.in +4n'
            yield inline(' '.join(content)[2:])
            yield '.in'
        else:
            yield '.PP'
            yield from lines(inline(' '.join(content)))


def tidy(roff_lines):
    """Without paragraphs that begin where a section has just begun."""
    before = ''
    for line in roff_lines:
        if not (line == '.PP' and before.startswith(('.SH', '.SS'))):
            yield line
            before = line


def main():
    version = re.search(r'^version = "(.*)"', read('Cargo.toml'), re.MULTILINE).group(1)
    epoch = os.environ.get('SOURCE_DATE_EPOCH')
    date = time.strftime('%Y-%m-%d', time.gmtime(int(epoch))) if epoch else ''
    # What is before the first section introduces the document, and lists its sections.
    document = read('docs/configuration.md')
    sections = document[document.index('\n## '):]
    print('.\\" Made from docs/configuration.md by packaging/manual.py.')
    print('.TH UWSGI\\-HETZNER 7 "%s" "uwsgi\\-hetzner %s"' % (date, escape(version)))
    print('.nh') # Names are not hyphenated.
    print(HEAD, end='')
    print('\n'.join(tidy(roff(sections))))
    print('.SH EXAMPLES')
    print('A configuration for one of three servers:')
    print('\n'.join(example(read('packaging/uwsgi.ini').splitlines())))
    print(TAIL, end='')


main()
