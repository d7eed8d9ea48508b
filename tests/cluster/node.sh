# A node: containerd, kubelet and the daemon of meta-cni in network, mount and PID namespaces of their own, every path at its default. The folders
# behind those paths are in $root/$node, where tests can look at them. Sourced by `cluster`; $node is which.

# The node's paths, each a folder with its slashes as dashes.
paths=(/etc/cni /opt/cni /opt/containerd /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/log /run)
folder() { local name=${1#/}; echo "$root/$node/${name//\//-}"; }
number() { echo "${node#n}"; }

# Everything that a node has on its disk before it boots for the first time.
node_folders() {
  local path plugin
  # A mount needs something to be mounted on: on the host these stay empty folders.
  for path in "${paths[@]}"; do mkdir -p "$(folder "$path")" "$path"; done
  mkdir -p "$root/machine" "$(folder /opt/cni)/bin" "$(folder /run)/netns"
  # Every plugin of ours and of the reference, as an installer copies them.
  cp "$META_CNI_BIN" "$(folder /opt/cni)/bin/meta-cni"
  mkdir -p "$(folder /opt/cni)/sbin"
  cp "$META_CNID_BIN" "$(folder /opt/cni)/sbin/meta-cnid"
  for plugin in "$plugins"/*; do ln -sf "$plugin" "$(folder /opt/cni)/bin/"; done
  "$here/networks" "$(number)" "$(folder /etc/cni)"
  containerd_config >"$root/$node/containerd.toml"
  kubelet_config >"$root/$node/kubelet.yaml"
}

# Boots the node, from inside the machine.
node_start() {
  local unshare pid wire
  cgroups
  cat /proc/sys/kernel/random/uuid >"$root/$node/boot_id"
  env --default-signal=INT,TERM,HUP unshare --net --mount --pid --fork --mount-proc "$self" node "$node" "$root" \
    </dev/null >>"$root/$node/init.log" 2>&1 &
  unshare=$!
  pid=$(child_of $unshare)
  echo "$pid" >"$root/$node/pid"
  # eth0 comes last: the node goes on when it is there.
  for wire in lan-a:lan-a lan-b:lan-b underlay:eth0; do
    ip link add "$node-${wire%:*}" type veth peer name "${wire#*:}" netns "$pid"
    ip link set "$node-${wire%:*}" master "${wire%:*}" up
  done
}

# kubelet gives its pods cgroups below one of the node's own, so that the end of the cluster finds them.
cgroups() {
  local hierarchy cgroup file
  for hierarchy in /sys/fs/cgroup/*/; do
    cgroup=$hierarchy$(name)-$node
    mkdir -p "$cgroup"
    for file in cpuset.cpus cpuset.mems; do
      if [ -f "$cgroup/$file" ] && [ -z "$(cat "$cgroup/$file")" ]; then cat "$hierarchy$file" >"$cgroup/$file"; fi
    done
  done
}

# What is left of cgroups whose processes are dead: a kernel that boots has none.
remove_cgroups() {
  local cgroup=/sys/fs/cgroup
  for _ in $(seq 100); do
    find $cgroup -depth -type d -path "$cgroup/*/$1*" -exec rmdir {} + 2>/dev/null || true
    [ -n "$(find $cgroup -maxdepth 2 -type d -name "$1*" -print -quit)" ] || break
    sleep 0.1
  done
}

# PID 1 of the node.
node_init() {
  local path setting other
  mount --make-rprivate /
  for path in "${paths[@]}"; do mount --bind "$(folder "$path")" "$path"; done
  # The kernel's boot ID is that of the real machine: a boot of this node has its own.
  mount --bind "$root/$node/boot_id" /proc/sys/kernel/random/boot_id
  # kubelet sets these for the whole machine unless they are as it wants them: here it finds them so.
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
    echo "${setting#*=}" >"/run/setting-$(basename "${setting%=*}")"
    mount --bind "/run/setting-$(basename "${setting%=*}")" "/proc/sys/${setting%=*}"
  done
  mount --make-rshared /
  until ip link show eth0 >/dev/null 2>&1; do sleep 0.01; done
  ip link set lo up
  ip address add "$network.1$(number)/24" dev eth0
  ip link set eth0 up
  ip route add default via $network.1
  for other in "${nodes[@]}"; do
    [ "$other" = "$node" ] || ip route add "10.244.${other#n}.0/24" via "$network.1${other#n}"
  done
  # The networks net-a and net-b are one wire each through both nodes.
  for lan in a b; do
    ip link add "br-$lan" type bridge
    ip link set "lan-$lan" master "br-$lan" up
    ip link set "br-$lan" up
  done
  echo 1 >/proc/sys/net/ipv4/ip_forward
  start_daemon
  start_runtime
  start_kubelet
  while :; do sleep 86400 & wait $! || true; done
}

# As long as it has a config; what it has to do is done again when it ends.
start_daemon() {
  while :; do
    if [ -e /etc/cni/meta-cni/daemon.json ]; then
      /opt/cni/sbin/meta-cnid &
      echo $! >"$root/$node/meta-cnid.pid"
      wait $! && true
      echo "meta-cnid ended with $?, again"
    fi
    sleep 0.3
  done </dev/null >>"$root/$node/meta-cnid.log" 2>&1 &
}

start_runtime() {
  while :; do
    PATH=$containerd:$PATH "$containerd/containerd" --config "$root/$node/containerd.toml" && true
    echo "containerd ended with $?, again"
    sleep 0.3
  done </dev/null >>"$root/$node/containerd.log" 2>&1 &
  # After a reboot the image is there.
  for _ in $(seq 600); do
    "$containerd/ctr" --namespace k8s.io images list --quiet 2>/dev/null | grep -qxF "$image" && return
    "$containerd/ctr" --namespace k8s.io images import --local "$root/pause.tar" >>"$root/$node/import.log" 2>&1 || true
    sleep 0.1
  done
  echo "containerd does not answer"
}

start_kubelet() {
  while :; do
    "$kubernetes/kubelet" --config "$root/$node/kubelet.yaml" --kubeconfig "$root/$node/kubeconfig" \
      --hostname-override "$node" --node-ip "$network.1$(number)" && true
    echo "kubelet ended with $?, again"
    sleep 0.3
  done </dev/null >>"$root/$node/kubelet.log" 2>&1 &
}

# Everything on the node dies at once; what a disk would have stays, what memory had is gone.
node_reboot() {
  local wire
  kill -KILL "$(cat "$root/$node/pid")"
  # The kernel waits for every process of a PID namespace before its first one is gone.
  while [ -e "/proc/$(cat "$root/$node/pid")" ]; do sleep 0.01; done
  remove_cgroups "$(name)-$node"
  for wire in lan-a lan-b underlay; do ip link delete "$node-$wire" 2>/dev/null || true; done
  find "$(folder /run)" -mindepth 1 -delete
  mkdir -p "$(folder /run)/netns"
  node_start
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE every pod would fail in runc.
containerd_config() {
  cat <<TOML
version = 3
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "$(snapshotter)"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "$image"
TOML
}

# Layers by overlayfs where that works, else by copying.
snapshotter() {
  local at=$root/$node/overlay kind=native
  mkdir -p "$at"/{lower,upper,work,merged}
  if unshare --mount mount -t overlay overlay -o "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work" "$at/merged" 2>/dev/null; then
    kind=overlayfs
  fi
  rm -rf "$at"
  echo $kind
}

# No limits that a machine of any kind could meet, and nothing that is set for the whole machine.
kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $root/machine/pki/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volumeplugins
resolvConf: ""
cgroupDriver: cgroupfs
cgroupRoot: /$(name)-$node
failCgroupV1: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
failSwapOn: false
featureGates: {KubeletInUserNamespace: true}
evictionHard: {memory.available: 20Mi, nodefs.available: 100Mi, imagefs.available: 100Mi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
eventRecordQPS: 0
YAML
}
