#!/usr/bin/env bash
# Makes the source of a uWSGI before 2.0.15 compile with current tools: tests/port-old-uwsgi.sh SOURCE
#
# The oldest supported version is 2.0.1, because 2.0 has no legion-death-on-lord-error, without which a node
# whose takeover failed stays Lord. These are all the changes that 2.0.1 to 2.0.14 need. In the Legion, only
# the allocation of cipher contexts changes.
set -euo pipefail
cd "$1"

# gcc -dumpversion now prints "12", not "4.8.2".
sed -i "s/gcc_version\.split('\.')\[1\]/(gcc_version + '.0').split('.')[1]/" uwsgiconfig.py
# Python 3's ConfigParser accepts only text, and uwsgiconfig.py puts None into it.
sed -i 's/ConfigParser\.ConfigParser(/ConfigParser.RawConfigParser(/' uwsgiconfig.py
# Newer compilers have more warnings, and reject a variable that is defined in several files.
sed -i "s/'-Werror'/'-w', '-fcommon'/" uwsgiconfig.py
# OpenSSL's structs are opaque since 1.1. OpenSSL must allocate cipher contexts,
sed -i 's/uwsgi_malloc(sizeof(EVP_CIPHER_CTX))/EVP_CIPHER_CTX_new()/' core/legion.c
# a function returns a session's id (for the cache of HTTPS sessions, which is not used here),
sed -i 's/sess->session_id, sess->session_id_length/SSL_SESSION_get_id(sess, NULL), ({ unsigned int length; SSL_SESSION_get_id(sess, \&length); length; })/' core/ssl.c
# and OpenSSL itself prevents renegotiation.
sed -i -e 's/if (ssl->s3) {/if (0) {/' -e 's/ssl->s3->flags |= .*;/;/' core/ssl.c plugins/http/*.c
