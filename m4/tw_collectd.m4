# Where collectd's plugin headers are, whether they will do, and where its plugins live.
#
# collectd ships no pkg-config file for plugins. Debian's collectd-dev puts the headers under
# /usr/include/collectd (core/, core/daemon/, liboconfig/); everywhere else they are only found in a
# configured source tree of the collectd that runs.

# TW_ARG_WITH_COLLECTD: the two switches; sets $with_collectd to yes, no or a directory.
AC_DEFUN([TW_ARG_WITH_COLLECTD], [
AC_ARG_WITH([collectd],
    [AS_HELP_STRING([--with-collectd=DIR],
        [collectd's headers: Debian's root (/usr/include/collectd) or a configured source tree])],
    [], [with_collectd=yes])
AC_ARG_WITH([collectd-plugindir],
    [AS_HELP_STRING([--with-collectd-plugindir=DIR],
        [where twamp.so goes (default: the directory that collectd loads from)])],
    [], [with_collectd_plugindir=auto])
])

# TW_CHECK_COLLECTD: sets and substitutes COLLECTD_CPPFLAGS and COLLECTD_DIR, or stops.
AC_DEFUN([TW_CHECK_COLLECTD], [
COLLECTD_DIR=
COLLECTD_CPPFLAGS=
COLLECTD_SUMMARY=no
AS_IF([test "x$with_collectd" != xno], [
    AS_CASE([$with_collectd],
        [yes], [COLLECTD_DIR=/usr/include/collectd],
        [[[\\/]]*], [COLLECTD_DIR=$with_collectd],
        [COLLECTD_DIR=`pwd`/$with_collectd])
    tw_collectd_help="
    Debian, Ubuntu:  apt-get install collectd-dev
    elsewhere:       unpack and ./configure the source of the collectd that you run, then
                     configure here with --with-collectd=/path/to/that/tree
    neither:         --without-collectd builds everything else"
    AC_MSG_CHECKING([for collectd's plugin headers])
    # System headers, so that our warnings are about our code. The third root serves Debian's
    # \"collectd/core/...\" includes when DIR is a copy of it elsewhere.
    AS_IF([test -r "$COLLECTD_DIR/core/daemon/plugin.h"], [
            COLLECTD_CPPFLAGS="-isystem $COLLECTD_DIR -isystem $COLLECTD_DIR/core -isystem $COLLECTD_DIR/core/daemon"
            AS_IF([test "$COLLECTD_DIR" != /usr/include/collectd && test -r "$COLLECTD_DIR/../collectd/core/daemon/plugin.h"],
                [COLLECTD_CPPFLAGS="$COLLECTD_CPPFLAGS -isystem $COLLECTD_DIR/.."])],
        [test -r "$COLLECTD_DIR/src/daemon/plugin.h"], [
            AS_IF([test -r "$COLLECTD_DIR/src/config.h"], [], [
                AC_MSG_RESULT([source tree, not configured])
                AC_MSG_ERROR([$COLLECTD_DIR has no src/config.h: run ./configure in that tree first])])
            COLLECTD_CPPFLAGS="-isystem $COLLECTD_DIR/src -isystem $COLLECTD_DIR/src/daemon"],
        [
            AC_MSG_RESULT([no])
            AC_MSG_ERROR([no collectd plugin headers in $COLLECTD_DIR: neither core/daemon/plugin.h nor src/daemon/plugin.h is there.$tw_collectd_help])])
    AC_MSG_RESULT([$COLLECTD_DIR])

    tw_save_CPPFLAGS=$CPPFLAGS
    CPPFLAGS="$COLLECTD_CPPFLAGS -DHAVE_CONFIG_H $CPPFLAGS"
    # confdefs.h and collectd's header both define PACKAGE and its relatives.
    m4_define([TW_COLLECTD_PROLOGUE], [[
        #undef PACKAGE
        #undef PACKAGE_BUGREPORT
        #undef PACKAGE_NAME
        #undef PACKAGE_STRING
        #undef PACKAGE_TARNAME
        #undef PACKAGE_URL
        #undef PACKAGE_VERSION
        #undef VERSION
        #undef LT_OBJDIR
        #include <collectd.h>
    ]])
    AC_CACHE_CHECK([for the version of collectd's headers], [tw_cv_collectd_version], [
        AC_LANG_CONFTEST([AC_LANG_SOURCE([TW_COLLECTD_PROLOGUE
TW_THE_VERSION PACKAGE_VERSION
        ])])
        tw_cv_collectd_version=`$CC -E -P $CPPFLAGS conftest.c 2>&AS_MESSAGE_LOG_FD |
            $SED -n 's/^.*TW_THE_VERSION *\"\(@<:@^\"@:>@*\)\".*$/\1/p'`
        test -n "$tw_cv_collectd_version" || tw_cv_collectd_version=unknown])
    AS_CASE([$tw_cv_collectd_version],
        [unknown], [AC_MSG_ERROR([collectd.h in $COLLECTD_DIR cannot be read, see config.log: the headers and their config.h do not fit together.$tw_collectd_help])])
    AS_VERSION_COMPARE([$tw_cv_collectd_version], [5.11],
        [AC_MSG_ERROR([collectd $tw_cv_collectd_version is too old: 5.11 or later is needed, its threads are started by another call.$tw_collectd_help])])

    AC_CACHE_CHECK([whether collectd's interface is the one we use], [tw_cv_collectd_api], [
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([TW_COLLECTD_PROLOGUE [
            #include <plugin.h>
            #include <utils/common/common.h>
            static void *body(void *arg) { return arg; }
            static int read_values(user_data_t *ud) { return ud == NULL; }
            ]], [[
            pthread_t thread;
            user_data_t ud = {0};
            (void)plugin_register_complex_read(NULL, "x", read_values, 0, &ud);
            return plugin_thread_create(&thread, body, NULL, "x");
            ]])], [tw_cv_collectd_api=yes], [tw_cv_collectd_api=no])])
    CPPFLAGS=$tw_save_CPPFLAGS
    AS_IF([test "x$tw_cv_collectd_api" = xno],
        [AC_MSG_ERROR([collectd's headers in $COLLECTD_DIR do not compile with plugin_thread_create(thread, start, arg, name), see config.log: 5.11 or later is needed.$tw_collectd_help])])
    COLLECTD_SUMMARY="yes (headers $tw_cv_collectd_version in $COLLECTD_DIR)"
])
AC_SUBST([COLLECTD_DIR])
AC_SUBST([COLLECTD_CPPFLAGS])
])

# TW_COLLECTD_PLUGINDIR: substitutes plugindir. A plugin elsewhere is never found, so this is
# collectd's own directory whatever our prefix is; ${libdir} is wrong on multiarch systems too.
AC_DEFUN([TW_COLLECTD_PLUGINDIR], [
AS_IF([test "x$with_collectd" != xno], [
    AC_MSG_CHECKING([where collectd loads plugins from])
    AS_IF([test "x$with_collectd_plugindir" != xauto && test "x$with_collectd_plugindir" != xyes],
        [plugindir=$with_collectd_plugindir],
        [
            plugindir=
            AS_IF([test "x$cross_compiling" != xyes],
                [plugindir=`PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" collectd -h 2>/dev/null |
                    $SED -n 's/^ *Plugin directory *//p'`])
            AS_IF([test -n "$plugindir"], [],
                [test -d /usr/lib/collectd], [plugindir=/usr/lib/collectd],
                [test -d /usr/lib64/collectd], [plugindir=/usr/lib64/collectd],
                [test -r /etc/redhat-release && test -d /usr/lib64], [plugindir=/usr/lib64/collectd],
                [plugindir=/usr/lib/collectd])])
    AC_MSG_RESULT([$plugindir])
    COLLECTD_SUMMARY="$COLLECTD_SUMMARY to $plugindir"])
AC_SUBST([plugindir])
])
