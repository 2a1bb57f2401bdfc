#!/usr/bin/env python3
"""Prints the licenses of the crates that are linked into the plugin, because they must be distributed
with it: each one once, with the crates that it belongs to."""

import glob
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = 'uwsgi-hetzner'

HEAD = """\
hetzner_plugin.so is linked statically with Rust's standard library (MIT OR Apache-2.0,
https://www.rust-lang.org/policies/licenses) and with the crates below, under these licenses.
"""


def metadata():
    target = os.environ.get('RUST_TARGET') or next(
        line.split()[1] for line in subprocess.check_output(['rustc', '-vV'], text=True).splitlines()
        if line.startswith('host: '))
    return json.loads(subprocess.check_output(
        ['cargo', 'metadata', '--format-version', '1', '--locked', '--filter-platform', target], cwd=ROOT))


def linked_crates(metadata):
    """The plugin's dependencies, except macros and those that only its build or its tests need."""
    packages = {package['id']: package for package in metadata['packages']}
    nodes = {node['id']: node for node in metadata['resolve']['nodes']}
    start = next(id for id, package in packages.items() if package['name'] == NAME)
    linked, waiting = {}, [start]
    while waiting:
        for dependency in nodes[waiting.pop()]['deps']:
            id = dependency['pkg']
            is_normal = any(kind['kind'] is None for kind in dependency['dep_kinds'])
            is_macro = any('proc-macro' in target['kind'] for target in packages[id]['targets'])
            if is_normal and not is_macro and id not in linked:
                linked[id] = packages[id]
                waiting.append(id)
    return sorted(linked.values(), key=lambda package: (package['name'], package['version']))


def license_texts(package):
    """The texts of a package's license files, or only that of MIT if the license is a choice."""
    directory = os.path.dirname(package['manifest_path'])
    files = sorted(file for pattern in ('LICEN[CS]E*', 'COPYING*', 'NOTICE*')
                   for file in glob.glob(os.path.join(glob.escape(directory), pattern)) if os.path.isfile(file))
    mit = [file for file in files if os.path.basename(file).startswith('LICENSE-MIT')]
    chosen = mit if mit and ' AND ' not in package['license'] else files
    if not chosen:
        raise SystemExit('licenses: ERROR %s %s has no license file' % (package['name'], package['version']))
    for file in chosen:
        with open(file, encoding='utf-8') as text:
            yield '\n'.join(line.rstrip() for line in text.read().strip().splitlines())


def main():
    crates_of = {}
    for package in linked_crates(metadata()):
        for text in license_texts(package):
            crates_of.setdefault(text, []).append(
                '%s %s (%s)' % (package['name'], package['version'], package['license']))
    print(HEAD)
    for text, crates in crates_of.items():
        print('=' * 79)
        print('\n'.join(crates))
        print('-' * 79)
        print(text + '\n')


main()
