#!/usr/bin/env bash
# Makes the source of a uWSGI older than 2.0.15 compile with what is current: tests/port-old-uwsgi.sh SOURCE
#
# The oldest that this project claims is 2.0.1: 2.0 itself has no legion-death-on-lord-error, without which
# a node whose takeover failed stays Lord. What follows is all that stops 2.0.1 to 2.0.14 from compiling as they
# are. The Legion stays what it was, but for how it allocates its cipher contexts.
set -euo pipefail
cd "$1"

# gcc -dumpversion is "12", where it was "4.8.2".
sed -i "s/gcc_version\.split('\.')\[1\]/(gcc_version + '.0').split('.')[1]/" uwsgiconfig.py
# Python 3 has its ConfigParser hold nothing but text, and uwsgiconfig.py puts None into it.
sed -i 's/ConfigParser\.ConfigParser(/ConfigParser.RawConfigParser(/' uwsgiconfig.py
# Warnings that compilers did not have, and a variable that is defined in several files.
sed -i "s/'-Werror'/'-w', '-fcommon'/" uwsgiconfig.py
# OpenSSL's structs are opaque since 1.1. Cipher contexts are to be made by it,
sed -i 's/uwsgi_malloc(sizeof(EVP_CIPHER_CTX))/EVP_CIPHER_CTX_new()/' core/legion.c
# a session's id is to be asked for (in the cache of HTTPS sessions, which is not used here),
sed -i 's/sess->session_id, sess->session_id_length/SSL_SESSION_get_id(sess, NULL), ({ unsigned int length; SSL_SESSION_get_id(sess, \&length); length; })/' core/ssl.c
# and it guards against renegotiation itself.
sed -i -e 's/if (ssl->s3) {/if (0) {/' -e 's/ssl->s3->flags |= .*;/;/' core/ssl.c plugins/http/*.c
