#!/usr/bin/env bash
# Makes the secrets that compose.yaml hands to its containers, as files in the folder given. What is there is kept.
set -euo pipefail

folder=${1:?usage: make-secrets.sh FOLDER}
umask 077
mkdir -p "$folder"
cd "$folder"

random() { head -c 36 /dev/urandom | base64 | tr '+/' '-_'; }
keep() { # NAME VALUE [USER]: USER is the number of the user in the container who reads it
    if [ ! -e "$1" ]; then
        printf '%s\n' "$2" >"$1"
        if [ "$(id -u)" = 0 ] && [ -n "${3-}" ]; then chown "$3" "$1"; fi
    fi
}

mailer=10001 rabbitmq=999
keep secret_key "$(random)" $mailer
keep database_password "$(random)"
keep database_url "postgresql://mailer:$(cat database_password)@database/mailer" $mailer
if [ ! -e broker_url ]; then
    password=$(random)
    keep broker_url "amqp://mailer:$password@broker//" $mailer
    rm -f broker.conf
    keep broker.conf "default_user = mailer
default_pass = $password" $rabbitmq
fi
if [ "$(id -u)" != 0 ]; then
    echo "make-secrets.sh: run it as root, or let the users $mailer and $rabbitmq read the files in $folder" >&2
fi
