# Scores messages (files named on the command line) as `spamassassin -L` does; one line of JSON for each.
use strict;
use warnings;
use JSON::PP;
use Mail::SpamAssassin;

my $state = shift @ARGV;
my $assassin = Mail::SpamAssassin->new({
    local_tests_only => 1, dont_copy_prefs => 1, userprefs_filename => "$state/prefs", userstate_dir => $state,
    post_config_text => "use_bayes 0\nuse_auto_whitelist 0\n",
});
for my $file (@ARGV) {
    open my $handle, '<:raw', $file or die "$file: $!";
    my $octets = do { local $/; <$handle> };
    my $message = $assassin->parse($octets);
    my $status = $assassin->check($message);
    print encode_json({ score => $status->get_score + 0, tests => $status->get_names_of_tests_hit_with_scores }), "\n";
    $status->finish;
    $message->finish;
}
