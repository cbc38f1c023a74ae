# Boots systemd over a throw-away copy of this machine: boot_systemd.sh PLACE [FROM TO]…
# In namespaces of its own: mounts, processes, hostname, IPC, network, and a cgroup whose
# path goes into PLACE.cgroup. Each folder FROM is seen read-only at TO; all else that is
# written is gone with the last process. PLACE is an empty folder.
set -eu

if [ "$1" != --inside ]; then
    # Of its own, since two that took the root for theirs would end each other's services.
    tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    group=$tree$(sed -n 's/^0:://p' /proc/self/cgroup)/booted-$$
    mkdir "$group"
    echo "$group" >"$1.cgroup"
    echo $$ >"$group/cgroup.procs"
    exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child \
        bash "$0" --inside "$@"
fi

shift
place=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay "$place/root" \
    -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work"
cd "$place/root"
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t proc proc proc
mount -t sysfs sysfs sys || mount --rbind /sys sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
while [ $# -gt 0 ]; do
    mkdir -p ".$2"
    mount --bind "$1" ".$2"
    mount -o remount,bind,ro ".$2"
    shift 2
done
ip link set lo up
printf '%032d\n' 1 >etc/machine-id
# A root of its own, not chroot: in a chroot nobody may make a namespace of users. And
# shared, as a container's manager leaves it: else credentials are mounted for nobody.
mkdir -p old
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=console \
    --show-status=no
