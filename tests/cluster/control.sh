# The control plane: certificates, etcd, API server, controller manager and scheduler, all inside the machine. Sourced by
# `cluster`, which says what $root, $api, $network and the parts are.

# Certificates and the files that name them, made before anything runs.
control_files() {
  local pki=$root/machine/pki
  mkdir -p "$pki"
  openssl genrsa -out "$pki/service-account.key" 2048 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=cluster-ca -days 30 2>/dev/null
  certificate api "/CN=kube-apiserver" "subjectAltName=IP:$network.1,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes"
  certificate admin "/O=system:masters/CN=admin"
  kubeconfig admin >"$root/machine/admin.kubeconfig"
  for node in "${nodes[@]}"; do
    certificate "$node" "/O=system:nodes/CN=system:node:$node"
    kubeconfig "$node" >"$root/$node/kubeconfig"
  done
}

# certificate NAME SUBJECT [EXTENSION]: a key and a certificate for both ends of TLS, by the cluster's authority.
certificate() {
  local pki=$root/machine/pki
  openssl req -newkey rsa:2048 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 30 \
    -out "$pki/$1.crt" -extfile <(printf '%s\n' "extendedKeyUsage=serverAuth,clientAuth" "${3:-}") 2>/dev/null
}

kubeconfig() {
  local pki=$root/machine/pki
  cat <<YAML
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "$api", certificate-authority: $pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}]
contexts: [{name: cluster, context: {cluster: cluster, user: $1}}]
current-context: cluster
YAML
}

control_start() {
  local pki=$root/machine/pki
  run etcd "$etcd/etcd" --data-dir "$root/machine/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
  run apiserver "$kubernetes/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
    --advertise-address $network.1 --bind-address 0.0.0.0 --service-cluster-ip-range 10.96.0.0/16 \
    --tls-cert-file "$pki/api.crt" --tls-private-key-file "$pki/api.key" --client-ca-file "$pki/ca.crt" --cert-dir "$pki" \
    --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
    --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/service-account.key" \
    --service-account-signing-key-file "$pki/service-account.key" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --profiling=false
  run controllers "$kubernetes/kube-controller-manager" --kubeconfig "$root/machine/admin.kubeconfig" --leader-elect=false \
    --service-account-private-key-file "$pki/service-account.key" --root-ca-file "$pki/ca.crt" --cert-dir "$pki"
  run scheduler "$kubernetes/kube-scheduler" --kubeconfig "$root/machine/admin.kubeconfig" --leader-elect=false --cert-dir "$pki"
}

# run NAME COMMAND...: for as long as the machine runs; again if it ends, as a supervisor does it (the controllers end when the
# API server is not there yet).
run() {
  local name=$1
  shift
  # shellcheck disable=SC2094
  while :; do "$@" && true; echo "$name ended with $?, again"; sleep 0.3; done </dev/null >>"$root/machine/$name.log" 2>&1 &
}
