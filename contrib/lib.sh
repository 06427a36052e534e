# shellcheck shell=bash
# What contrib/quickstart and contrib/check share: messages, becoming root, and installing packages
# through the system's own package manager. To be sourced; runs nothing by itself.
#
# Packages are asked for by purpose (a group), and named here for each family of distributions, so
# that no other script knows a package name. Where packages come from is the system's own affair.

# Daemons and their tools live where an ordinary user's shell does not look.
PATH=$PATH:/usr/sbin:/sbin

say() {
    printf '%s\n' "$*"
}

# fail MESSAGE...: says what is wrong and what to do next, and ends the script.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# as_root COMMAND...: directly, or through sudo.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        fail "'$1' needs root, and there is no sudo: run this as root"
    fi
}

# package_family: debian or fedora, by the package manager that is there.
package_family() {
    if have apt-get && have dpkg-query; then
        echo debian
    elif have dnf && have rpm; then
        echo fedora
    else
        fail 'neither apt-get nor dnf is here: install the packages listed in contrib/lib.sh by hand'
    fi
}

# packages_in GROUP: the packages of a group on this system, one word each.
packages_in() {
    case $(package_family):$1 in
        debian:build)
            echo autoconf autoconf-archive automake libtool pkg-config gcc libc6-dev make \
                nettle-dev libglib2.0-dev libsystemd-dev libjansson-dev libinih-dev ;;
        fedora:build)
            echo autoconf autoconf-archive automake libtool pkgconf-pkg-config gcc glibc-devel make \
                nettle-devel glib2-devel systemd-devel jansson-devel inih-devel ;;
        # The daemon's binary and plugins without the package that starts it as a service.
        debian:collectd) echo collectd-core ;;
        fedora:collectd) echo collectd collectd-rrdtool ;;
        debian:collectd-headers) echo collectd-dev ;;
        # No package of this family carries plugin headers.
        fedora:collectd-headers) ;;
        debian:rrdtool | fedora:rrdtool) echo rrdtool ;;
        debian:check)
            echo clang clang-format clang-tidy cppcheck shellcheck libcmocka-dev procps util-linux \
                xz-utils ;;
        fedora:check)
            echo clang clang-tools-extra cppcheck ShellCheck libcmocka-devel procps-ng util-linux xz \
                libasan libubsan libtsan ;;
        # Where there is no such package, clang itself brings what it links sanitizers with.
        debian:fuzz) echo libclang-rt-dev ;;
        fedora:fuzz) echo compiler-rt ;;
        # The two -dev packages bring what write_prometheus loads, whose names change with every release.
        debian:net)
            echo rrdtool graphite-carbon python3 python3-cryptography python3-whisper tshark \
                nftables ethtool iproute2 libmicrohttpd-dev libprotobuf-c-dev ;;
        fedora:net)
            echo rrdtool collectd-write_prometheus python3-carbon python3-cryptography python3-whisper \
                wireshark-cli nftables ethtool iproute iproute-tc ;;
        # A compiler for s390x with its C library, and what runs its programs.
        debian:bigendian) echo gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user ;;
        # There is a compiler for kernels only.
        fedora:bigendian) ;;
        *) fail "contrib/lib.sh knows no packages for '$1' on this system" ;;
    esac
}

package_is_installed() {
    case $(package_family) in
        debian) [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]] ;;
        fedora) rpm -q --whatprovides "$1" >/dev/null 2>&1 ;;
    esac
}

# install_packages GROUP...: what is missing of these groups. With all of it there, the package
# manager is not asked at all. Package lists are refreshed only when an install fails with the old
# ones, as it does on a fresh system.
install_packages() {
    local group package wanted missing=()
    for group in "$@"; do
        wanted=$(packages_in "$group")
        for package in $wanted; do
            package_is_installed "$package" || missing+=("$package")
        done
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing: ${missing[*]}"
    case $(package_family) in
        debian)
            apt_install "${missing[@]}" >/dev/null 2>&1 || {
                say 'refreshing the package lists'
                as_root apt-get -q update >/dev/null ||
                    fail 'apt-get update failed: see its message above'
                apt_install "${missing[@]}" >/dev/null ||
                    fail "these packages could not be installed: ${missing[*]}"
            }
            # The tests start a carbon-cache of their own: the system need not run one from now on.
            if [[ " ${missing[*]} " == *' graphite-carbon '* ]] && have systemctl; then
                as_root env SYSTEMD_OFFLINE=1 systemctl --quiet disable carbon-cache.service \
                    >/dev/null 2>&1 || true
            fi
            ;;
        fedora)
            as_root dnf -y -q --setopt=install_weak_deps=False install "${missing[@]}" </dev/null ||
                fail "these packages could not be installed: ${missing[*]} (RHEL and its like need EPEL and CRB enabled for some)"
            ;;
    esac
}

# SYSTEMD_OFFLINE: no service that comes with a package is started.
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 \
        apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "$@" </dev/null
}

# unpack_foreign ARCHITECTURE DIRECTORY PACKAGE...: packages of another architecture and all that they
# depend on, unpacked there, on the Debian family. Nothing is installed and the system need not know the
# architecture: apt works on lists and an empty database of its own, with the system's sources and keys.
# Needs no root; each step is chained with &&, for callers that ask for the status.
unpack_foreign() {
    local architecture=$1 root=$2 apt=$2.apt file
    shift 2
    mkdir -p "$root" "$apt/lists/partial" "$apt/cache/archives/partial" && : >"$apt/status" || return
    cat >"$apt/conf" <<EOF
#clear APT::Architectures;
#clear APT::Update;
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
EOF
    apt-get -q -y -c "$apt/conf" update &&
        apt-get -q -y -c "$apt/conf" --download-only install "$@" || return
    for file in "$apt"/cache/archives/*.deb; do
        dpkg-deb -x "$file" "$root" || return
    done
    # What base-files would bring: since packages hold everything under usr, the loader's place is a link.
    [[ -e $root/lib ]] || ln -s usr/lib "$root/lib"
}

# copy_source FROM TO: the tree without version control and without anything that a build in it has
# left, so that what is built elsewhere depends on the sources alone.
copy_source() {
    local list
    mkdir -p "$2"
    # A tree of another user's, under sudo, counts as unsafe to git unless it is named.
    if have git && list=$(git -c safe.directory="$1" -C "$1" ls-files --cached --others \
        --exclude-standard 2>/dev/null) && [[ -n $list ]]; then
        (cd "$1" && while IFS= read -r file; do
            if [[ -e $file ]]; then
                printf '%s\n' "$file"
            fi
        done <<<"$list" | tar -cf - -T -) | tar -C "$2" -xf -
    else
        (cd "$1" && tar -cf - --exclude=./.git --exclude='*.o' --exclude='*.lo' --exclude='*.la' \
            --exclude=.libs --exclude=.deps --exclude=.dirstamp --exclude='*.log' --exclude='*.trs' \
            --exclude=./autom4te.cache --exclude=./quickstart-data --exclude=./config.status \
            --exclude=./Makefile --exclude=./twamp-config.h --exclude=./stamp-h1 \
            --exclude='./build*' --exclude='./twamp-*.tar.*' .) | tar -C "$2" -xf -
    fi
}
