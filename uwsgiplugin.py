# Builds the plugin for the uWSGI at hand: `uwsgi --build-plugin DIRECTORY`.
#
# That uWSGI's uwsgiconfig.py executes this file, in its own Python (2 or 3), and then compiles and
# links the files in the variables at the end. So cargo builds the Rust library first, and uWSGI
# links it into NAME_plugin.so together with include/abi_check.c. That file produces no code: it
# fails the build if this uWSGI's structs differ from the ones that the plugin was written for.

import json
import os
import re
import subprocess
import sys

NAME = 'hetzner'

RUST_MINIMUM = (1, 85)
RUST_ADVICE = ('Install Rust %d.%d or newer: https://rustup.rs, or on Debian 13 and later: '
               'apt-get install cargo' % RUST_MINIMUM)


def fail(reason):
    sys.exit('*** uwsgi-hetzner: %s ***' % reason)


def plugin_directory_and_name():
    """The directory and the name that the user gave. __file__ is not set here, but sys.argv is that of
    uwsgiconfig.py: --extra-plugin DIRECTORY [NAME] when run by `uwsgi --build-plugin "DIRECTORY
    [NAME]"`, or --plugin DIRECTORY [PROFILE [NAME]]."""
    name_at = {'--extra-plugin': 3, '-x': 3, '--plugin': 4, '-p': 4}.get(sys.argv[1])
    if name_at is None:
        fail('the plugin cannot be embedded into uWSGI; build it with: uwsgi --build-plugin DIRECTORY')
    directory = sys.argv[2].rstrip('/') or '/'
    if '://' in directory:  # uwsgiconfig.py has just cloned it, under its last name
        directory = directory.split('/')[-1]
    name = sys.argv[name_at] if len(sys.argv) > name_at else NAME
    if not re.match('^[A-Za-z0-9_]+$', name):
        fail("a plugin cannot be named '%s': use letters, digits and _" % name)
    return os.path.abspath(directory), name


def rust_environment():
    """The environment for cargo. It runs in another directory, so CARGO_TARGET_DIR is made absolute,
    and the PATH may lack rustup's directory."""
    env = os.environ.copy()
    env['PATH'] = os.pathsep.join([env.get('PATH', os.defpath), os.path.expanduser('~/.cargo/bin')])
    if env.get('CARGO_TARGET_DIR'):
        env['CARGO_TARGET_DIR'] = os.path.abspath(env['CARGO_TARGET_DIR'])
    return env


def run(command, directory, env):
    """Returns the exit status and the output of a command; its messages go to standard error."""
    try:
        process = subprocess.Popen(command, cwd=directory, env=env, stdout=subprocess.PIPE)
    except OSError as error:
        fail('%s cannot be run (%s). %s' % (command[0], error.strerror, RUST_ADVICE))
    output = process.communicate()[0]
    return process.returncode, output.decode('utf-8')


def which(program, env):
    for directory in env['PATH'].split(os.pathsep):
        path = os.path.join(directory, program)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return os.path.abspath(path)
    fail('the plugin is written in Rust, and %s was not found. %s' % (program, RUST_ADVICE))


def check_rustc(directory, env):
    status, version = run([env.get('RUSTC') or which('rustc', env), '--version'], directory, env)
    found = re.match(r'rustc (\d+)\.(\d+)', version)
    if status != 0 or not found:
        fail('rustc --version failed. %s' % RUST_ADVICE)
    if tuple(int(number) for number in found.groups()) < RUST_MINIMUM:
        fail('%s is too old. %s' % (version.strip(), RUST_ADVICE))


def build_library(directory):
    """Runs cargo and returns the path of the static library."""
    env = rust_environment()
    cargo = env.get('CARGO') or which('cargo', env)
    check_rustc(directory, env)
    status, output = run(
        [cargo, 'rustc', '--release', '--locked', '--lib', '--crate-type', 'staticlib',
         '--manifest-path', os.path.join(directory, 'Cargo.toml'),
         '--message-format', 'json-render-diagnostics'],
        directory, env)
    if status != 0:
        fail('cargo could not build the library; see its message above')
    for line in output.splitlines():
        message = json.loads(line) if line.startswith('{') else {}
        if message.get('reason') == 'compiler-artifact':
            for path in message['filenames']:
                if path.endswith('/libhetzner_plugin.a'):
                    return str(path)
    fail('cargo reported no libhetzner_plugin.a')


def write_version_script(library, symbol):
    """Limits the plugin to one exported symbol, because uWSGI loads plugins into the global scope."""
    path = os.path.join(os.path.dirname(library), symbol + '.map')
    with open(path, 'w') as script:
        script.write('{ global: %s; local: *; };\n' % symbol)
    return path


def quote(path):
    """Escapes a path for the shell that uwsgiconfig.py passes it to. Quotation marks would not do,
    because uwsgiconfig.py looks at the end of the name."""
    return re.sub(r'([^\w/.,:=@%+-])', r'\\\1', path)


directory, name = plugin_directory_and_name()
library = build_library(directory)
# uWSGI looks for a symbol with the name of the file.
symbol = name + '_plugin'

GCC_LIST = ['include/abi_check.c', quote(library)]
CFLAGS = []
LDFLAGS = [
    # Keep the plugin and what it needs, and drop the rest of the archive.
    '-Wl,-u,hetzner_plugin',
    '-Wl,--gc-sections',
    '-Wl,--version-script=' + quote(write_version_script(library, symbol)),
    # Threads and thread-local destructors may outlive a dlclose().
    '-Wl,-z,nodelete',
    '-Wl,-z,relro',
    '-Wl,-z,now',
    # uWSGI's functions are looked up at run time, so no symbol may be left undefined.
    '-Wl,-z,defs',
    '-s',
]
if name != NAME:
    LDFLAGS.append('-Wl,--defsym=%s=hetzner_plugin' % symbol)
# The libraries that Rust's standard library needs: `rustc --print native-static-libs`.
LIBS = ['-Wl,--as-needed', '-lgcc_s', '-lutil', '-lrt', '-lpthread', '-lm', '-ldl', '-lc']
