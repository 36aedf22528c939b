# Reads messages (files named on the command line) with Email::MIME; one line of JSON for each.
use strict;
use warnings;
use Email::MIME;
use JSON::PP;

my $json = JSON::PP->new->ascii->canonical;
for my $file (@ARGV) {
    my @defects;
    local $SIG{__WARN__} = sub { push @defects, "warning: $_[0]" };
    open my $handle, '<:raw', $file or die "$file: $!";
    my $octets = do { local $/; <$handle> };
    my $message = Email::MIME->new($octets);
    my %texts;
    $message->walk_parts(sub {
        my ($part) = @_;
        return if $part->subparts;
        my ($type) = $part->content_type =~ /^([^;]+)/;
        $texts{$type} = $part->body_str;
    });
    print $json->encode({
        subject => scalar $message->header_str('Subject'), from => scalar $message->header_str('From'),
        to => scalar $message->header_str('To'), text => $texts{'text/plain'}, html => $texts{'text/html'},
        defects => \@defects,
    }), "\n";
}
